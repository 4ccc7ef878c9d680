"""JSON that a terminal can show: whatever could move its cursor, or turn the direction of text, is escaped."""

import re

import orjson

from bouncer.safe_text import VISIBLE

__all__ = ["json_text"]

_SHOWN = re.compile(f"[{''.join(map(re.escape, map(chr, VISIBLE)))}]")


def json_text(value: object) -> str:
    """One line of JSON, which reads back as the same value.

    Args:
        value: Of the types that JSON has; others become their text.
    """
    return _SHOWN.sub(_escaped, orjson.dumps(value, default=str).decode())


def _escaped(found: re.Match[str]) -> str:
    # In two halves, as JSON has it, where it is beyond the basic plane.
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
