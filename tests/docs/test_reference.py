"""The reference says what the code says, and leaves nothing out."""

import re

import pytest

from bouncer.storage.tables import Base
from tasks.running.events import EVENTS
from tests.docs.reference.events import announced
from tests.docs.reference.meanings import COLUMNS
from tests.docs.reference.metrics import thresholds_of_alerts
from tests.docs.reference.pages import FOLDER, PAGES, render
from tests.docs.reference.tables import meanings_of_columns


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_the_reference_is_up_to_date(name: str) -> None:
    """Whoever changes a setting, a parameter, a table or an event finds it in docs/reference."""
    assert (FOLDER / name).read_text() == render(name), "run make reference, and look at what it changed"


def test_there_is_no_page_that_nothing_renews() -> None:
    """A page that the generator does not write would stay as it is, however the code changes."""
    assert {page.name for page in FOLDER.glob("*.md")} == set(PAGES)


def test_every_column_has_a_meaning() -> None:
    """A column is explained in docs/decisions.md, or in tests/docs/reference/meanings.py where the plan had it."""
    columns = {f"{table.name}.{column.name}" for table in Base.metadata.tables.values() for column in table.columns}
    assert columns - meanings_of_columns().keys() == set()
    assert COLUMNS.keys() - columns == set()


def test_every_event_has_a_meaning() -> None:
    """An event that the code announces is explained in tasks/running/events.py, and no other is."""
    assert announced().keys() == EVENTS.keys()


def test_every_alert_is_explained() -> None:
    """The table of alerts in docs/monitoring.md has each alert that can begin, and no other."""
    page = (FOLDER.parent / "monitoring.md").read_text().partition("## Alerts")[2].partition("\n### ")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", page, flags=re.MULTILINE)) == thresholds_of_alerts().keys()
