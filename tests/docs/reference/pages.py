"""All pages of the reference, by the name of their file."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.docs.reference.bouncer import bouncer_page
from tests.docs.reference.commands import commands_page
from tests.docs.reference.databases import databases_page
from tests.docs.reference.events import events_page
from tests.docs.reference.flows import flows_page
from tests.docs.reference.metrics import metrics_page
from tests.docs.reference.settings import settings_page
from tests.docs.reference.states import states_page
from tests.docs.reference.tables import tables_page

__all__ = ["FOLDER", "PAGES", "render"]

FOLDER = Path(__file__).parents[3] / "docs" / "reference"

PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "settings.md": settings_page,
    "flows.md": flows_page,
    "tables.md": tables_page,
    "states.md": states_page,
    "events.md": events_page,
    "metrics.md": metrics_page,
    "bouncer.md": bouncer_page,
    "databases.md": databases_page,
}


def render(name: str) -> str:
    """A page as it should stand in the repository."""
    return (
        f"<!-- Made from the code by `make reference`; what is changed here by hand is lost. -->\n\n{PAGES[name]()}\n"
    )
