"""Markdown from what the code says: tables, and the words for what a JSON schema allows."""

import inspect
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["allowed", "as_code", "default_of", "first_part", "flat", "resolved", "table"]

Schema = dict[str, Any]

_SECTIONS = re.compile(r"\n+(Args|Attributes|Example|Examples|Raises|Returns|Yields):\n")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; what would end a cell is escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(flat(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def flat(text: str) -> str:
    """A text on one line."""
    return " ".join(text.split())


def as_code(value: object) -> str:
    """A value as it is written in JSON, in backticks."""
    return f"`{json.dumps(value) if not isinstance(value, str) else value}`"


def first_part(docstring: str | None) -> str:
    """A docstring without its sections for programmers."""
    cleaned = inspect.cleandoc(docstring or "")
    return _SECTIONS.split("\n" + cleaned, maxsplit=1)[0].strip().replace("``", "`")


def resolved(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """A property's schema with its reference replaced by what it names; what stands beside the reference stays."""
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    if not name and len(schema.get("allOf", [])) == 1:
        name = str(schema["allOf"][0].get("$ref", "")).rpartition("/")[2]
    return {**definitions[name], **schema} if name else schema


def default_of(schema: Schema) -> str:
    """A property's default, or what stands in for one."""
    if "default" not in schema:
        return "must be given"
    default = schema["default"]
    if default is None:
        return "none"
    if isinstance(default, dict):
        return "as below"
    return as_code(default)


def allowed(schema: Schema, definitions: dict[str, Schema]) -> str:
    """What a property may be, in words."""
    schema = resolved(schema, definitions)
    if options := schema.get("anyOf"):
        words = [allowed(option, definitions) for option in options if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if values := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return ", ".join(as_code(value) for value in values)
    return _by_type(schema, definitions)


def _by_type(schema: Schema, definitions: dict[str, Schema]) -> str:
    kind = schema.get("type")
    if kind in {"integer", "number"}:
        return f"{'whole number' if kind == 'integer' else 'number'}{_bounds(schema)}"
    if kind == "string":
        formats = {"password": "secret text", "path": "path", "date-time": "date and time"}
        return formats.get(str(schema.get("format")), "text")
    if kind == "boolean":
        return "true or false"
    if kind == "array":
        return f"list of: {allowed(schema.get('items', {}), definitions)}"
    if kind == "object":
        return "fields below" if "properties" in schema else "object"
    return "anything"


def _bounds(schema: Schema) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    words = [
        "" if low is None else f"from {low:,}",
        "" if above is None else f"above {above:,}",
        "" if high is None else f"to {high:,}",
        "" if below is None else f"below {below:,}",
    ]
    return "".join(f" {word}" for word in words if word)
