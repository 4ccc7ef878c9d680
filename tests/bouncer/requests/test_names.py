"""Requests are found by name or number, and listed with what people look for."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from bouncer.errors import InputRefused
from bouncer.files.importing import import_contacts
from bouncer.files.lists.list_rows import FinishedUnderThisName
from bouncer.requests.counting import count_contacts
from bouncer.requests.names import find_request
from bouncer.requests.overview import list_requests
from bouncer.requests.progress import complete
from bouncer.storage.engine import read, write
from tests.bouncer.contacts import claim, load_verdicts, sent, verdicts, verify


def _import(engine: Engine, folder: Path, name: str, *emails: str, user: str | None = None, add: bool = False) -> int:
    path = folder / "list.csv"
    path.write_text("\n".join(["email", *emails]) + "\n")
    return import_contacts(engine, path, request_name=name, user=user, add=add).request_id


def _finish(engine: Engine, request_id: int) -> None:
    for batch in claim(engine, request_id=request_id).batches:
        load_verdicts(engine, verify(engine, batch.id), verdicts(sent(engine, batch.id)))
    assert write(engine, complete, request_id, read(engine, count_contacts, request_id)) is not None


def test_by_name_or_number(engine: Engine, tmp_path: Path) -> None:
    """A name in exactly its letters, or a number; a name that several have, or none, is answered with what there is."""
    spring = _import(engine, tmp_path, "Spring leads", "a@mole.example")
    mine = _import(engine, tmp_path, "leads", "a@mole.example", user="me@mole.example")
    yours = _import(engine, tmp_path, "leads", "a@mole.example", user="you@mole.example")
    assert read(engine, find_request, "Spring leads") == spring
    assert read(engine, find_request, str(mine)) == mine
    with pytest.raises(InputRefused, match=f"several requests are called leads: {mine}, {yours}; give the number"):
        read(engine, find_request, "leads")
    with pytest.raises(InputRefused, match="do you mean Spring leads"):
        read(engine, find_request, "spring lead")
    with pytest.raises(InputRefused, match="requests --all"):
        read(engine, find_request, "xyz")


def test_another_list_under_a_finished_name_is_asked_about(engine: Engine, tmp_path: Path) -> None:
    """The same list may come again at any time; another one joins a finished request only if somebody says so."""
    request = _import(engine, tmp_path, "leads", "a@mole.example")
    assert _import(engine, tmp_path, "leads", "a@mole.example", "b@mole.example") == request
    _finish(engine, request)
    assert _import(engine, tmp_path, "leads", "a@mole.example", "b@mole.example") == request
    with pytest.raises(FinishedUnderThisName, match="give this one a name of its own"):
        _import(engine, tmp_path, "leads", "c@mole.example")
    assert read(engine, count_contacts, request).total == 2
    assert _import(engine, tmp_path, "leads", "c@mole.example", add=True) == request
    assert read(engine, count_contacts, request).total == 3


def test_the_list_of_requests(engine: Engine, tmp_path: Path) -> None:
    """Name, owner, lines, progress, verdicts and cost, the latest first."""
    first = _import(engine, tmp_path, "first", "a@mole.example", "A@mole.example", "nobody", user="me@mole.example")
    _finish(engine, first)
    second = _import(engine, tmp_path, "second", "b@mole.example")
    latest, earliest = read(engine, list_requests)
    assert (earliest.request_id, earliest.name, earliest.owner) == (first, "first", "me@mole.example")
    assert (earliest.lines, earliest.contacts, earliest.settled, earliest.progress) == (3, 1, 1, 1.0)
    assert (earliest.verdicts, earliest.credits) == ({"deliverable": 1}, 1)
    assert (latest.request_id, latest.lines, latest.contacts, latest.settled) == (second, 1, 1, 0)
