"""The page of settings and blocks."""

from typing import Any

from prefect.blocks.core import Block

from blocks.bouncer_account import BouncerAccount
from blocks.contacts_database import ContactsDatabase
from deployments.settings import Settings
from tests.docs.markdown import allowed, default_of, first_part, table

__all__ = ["settings_page"]

_BLOCKS: tuple[type[Block], ...] = (BouncerAccount, ContactsDatabase)
# How Settings makes a path absolute depends on who runs it.
_SHOWN_DEFAULTS = {"bouncer_flows_home": "`~/.bouncer-flows`"}
# Pages that say more about a variable than its own line can.
_MORE = {
    "database_url": "[the database](../application.md), [`local_infile`](../performance.md)",
    "result_max_age_days": "[freshness](../freshness.md)",
    "ambiguous_upload": "[lost uploads](../promises.md)",
    "max_credits_per_run": "[caps](../costs.md#caps)",
    "realtime_max_addresses": "[real time](../realtime.md)",
    "delete_at_bouncer": "[what remains there](../security.md#what-remains-at-bouncer)",
    "realtime_per_hour": "[real time](../realtime.md)",
    "bouncer_flows_name": "[several on one server](../prefect-server.md)",
    "work_pool": "[pools](../prefect-server.md)",
    "callback_url": "[callbacks](../callbacks.md)",
    "alert_block": "[alerts](../monitoring.md#alerts)",
    "log_format": "[logs](../monitoring.md#logs)",
    "metrics_port": "[Prometheus](../monitoring.md#prometheus-and-grafana)",
    "second_chances": "[second chances](../freshness.md#second-chances)",
    "deep_bouncer_api_key": "[the deep pass](../deep-pass.md)",
    "server_password": "[security](../security.md)",
}


def settings_page() -> str:
    """Environment variables, and the fields of the blocks that they are saved into."""
    schema = Settings.model_json_schema()
    rows = [
        (
            f"`{name.upper()}`",
            _SHOWN_DEFAULTS.get(name, default_of(field)),
            allowed(field, schema.get("$defs", {})),
            f"{field.get('description', '')} {_MORE.get(name, '')}".strip(),
        )
        for name, field in schema["properties"].items()
    ]
    parts = [
        "# Settings",
        first_part(Settings.__doc__),
        (
            "An empty variable is one that is not set. All that begins with `PREFECT_` is "
            "[Prefect's own](https://docs.prefect.io/v3/api-ref/settings-ref). `PREFECT_API_URL`, or "
            "[a file or profile of Prefect's](../prefect-server.md#which-server), names a server; where none does, "
            "each command that needs Prefect starts a local one. So does an empty `PREFECT_API_URL`, whatever files "
            "and profile say."
        ),
        table(("variable", "default", "what it may be", "meaning"), rows),
        "# Blocks",
        (
            "Flows read blocks, not the environment. `setup` saves the variables that are set into "
            "`bouncer-account/default` and `contacts-database/default`; a variable that is not set leaves the block as "
            "it is. Other commands, such as `ingest`, `serve` and `demo`, save a block that is missing, change none, "
            "and refuse where a variable says otherwise than a block. Blocks can be changed in Prefect's UI too: a new "
            "key is used from the next request on, all else from the next run on. Limits follow the block: `ingest` "
            "sets them as it says."
        ),
        (
            "A block that makes no sense stops the runs, which name the field; mend it there, or set its variable and "
            "run `setup`."
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
