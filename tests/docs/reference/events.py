"""The page of events, from the calls that emit them."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tasks.running.events import EVENTS
from tests.docs.markdown import as_code, table

__all__ = ["announced", "events_page"]

_ROOT = Path(__file__).parents[3]
_FOLDERS = ("blocks", "bouncer", "deployments", "flows", "tasks")


def events_page() -> str:
    """Each event with its payload."""
    rows = [
        (f"`bouncer-flows.{name}`", EVENTS.get(name, ""), ", ".join(map(as_code, payload)) or "none")
        for name, payload in sorted(announced().items())
    ]
    return "\n\n".join(
        [
            "# Events",
            (
                "They are emitted to the Prefect server, where automations can act on them. The resource is "
                "`bouncer-flows.account.NAME`, the account block that it is about, or `bouncer-flows.request.ID`. "
                "No payload holds keys or addresses."
            ),
            table(("event", "when", "payload"), rows),
        ]
    )


_ANNOUNCERS = {"announce", "announce_of_request", "announce_once"}


def announced() -> dict[str, list[str]]:
    """The names of all events that the code announces, with the names of what their payloads hold."""
    found: dict[str, list[str]] = {}
    for call in _calls():
        payload = [str(word.arg) for word in call.keywords if word.arg not in {None, "account", "once"}]
        found |= dict.fromkeys(_constants(call.args[0]), payload)
    return found


def _constants(name: ast.expr) -> list[str]:
    if isinstance(name, ast.IfExp):
        return [*_constants(name.body), *_constants(name.orelse)]
    return [str(name.value)] if isinstance(name, ast.Constant) else []


def _calls() -> Iterator[ast.Call]:
    for folder in _FOLDERS:
        for file in sorted((_ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and getattr(node.func, "id", getattr(node.func, "attr", "")) in _ANNOUNCERS
                ):
                    yield node
