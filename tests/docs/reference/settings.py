"""The page of settings and blocks."""

from typing import Any

from prefect.blocks.core import Block

from blocks.bouncer_account import BouncerAccount
from blocks.contacts_database import ContactsDatabase
from deployments.settings import Settings
from tests.docs.reference.markdown import allowed, default_of, first_part, table

__all__ = ["settings_page"]

_BLOCKS: tuple[type[Block], ...] = (BouncerAccount, ContactsDatabase)
# How Settings makes a path absolute depends on who runs it.
_SHOWN_DEFAULTS = {"bouncer_flows_home": "`~/.bouncer-flows`"}


def settings_page() -> str:
    """Environment variables, and the fields of the blocks that they are saved into."""
    schema = Settings.model_json_schema()
    rows = [
        (
            f"`{name.upper()}`",
            _SHOWN_DEFAULTS.get(name, default_of(field)),
            allowed(field, schema.get("$defs", {})),
            field.get("description", ""),
        )
        for name, field in schema["properties"].items()
    ]
    parts = [
        "# Settings",
        first_part(Settings.__doc__),
        (
            "An empty variable is one that is not set. `PREFECT_API_URL`, and all else that begins with `PREFECT_`, is "
            "[Prefect's own](https://docs.prefect.io/v3/api-ref/settings-ref)."
        ),
        table(("variable", "default", "what it may be", "meaning"), rows),
        "# Blocks",
        (
            "Flows read blocks, not the environment. `setup`, `ingest`, `serve` and `demo` save the variables that are "
            "set into them. They can be changed in Prefect's UI too."
        ),
    ]
    for block in _BLOCKS:
        parts += _block(block)
    return "\n\n".join(parts)


def _block(block: type[Block]) -> list[str]:
    # Prefect keeps the older word for what pydantic calls $defs.
    schema: dict[str, Any] = block.model_json_schema()
    rows = [
        (f"`{name}`", default_of(field), allowed(field, schema.get("definitions", {})), field.get("description", ""))
        for name, field in schema["properties"].items()
    ]
    return [
        f"## `{block.get_block_type_slug()}`",
        first_part(block.__doc__),
        table(("field", "default", "what it may be", "meaning"), rows),
    ]
