"""Places in which an erased person's address stayed, without a word in the report."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest
from prefect import Flow
from sqlalchemy import Engine, select, update

from bouncer.erasure.addresses import Wanted
from bouncer.erasure.erasing import erase_person
from bouncer.errors import InputRefused
from bouncer.files.importing import import_contacts
from bouncer.storage.tables import Base
from flows.costs.forecast import forecast
from flows.dispatch import dispatch
from flows.ingest import ingest
from flows.requests.cancel import cancel
from flows.requests.export_request import export_request
from flows.requests.verify_list import verify_list
from flows.verify_risky import verify_risky
from tests.bouncer.contacts import queue
from tests.bouncer.storage.existing_tables import on_sqlite

ANN = "ann.marked@example.org"


def _all_of(engine: Engine) -> str:
    with engine.connect() as connection:
        return repr([connection.execute(select(table)).all() for table in Base.metadata.sorted_tables]).lower()


@on_sqlite
@pytest.mark.parametrize("ending", [".csv", ".verified.csv", "_2024.csv", ".txt"])
def test_a_list_that_is_named_for_a_person_loses_the_name(engine: Engine, tmp_path: Path, ending: str) -> None:
    """Behind the address, .csv was taken for a part of a longer domain."""
    file = tmp_path / f"list of {ANN}{ending}"
    file.write_text(f"email\n{ANN}\nbob@example.org\n")
    import_contacts(engine, file)
    assert ANN in _all_of(engine)
    report = erase_person(engine, ANN.upper(), exports=[])
    assert (report.contacts, report.texts) == (1, 2)
    assert ANN not in _all_of(engine)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("ann@xn--mnchen-3ya.de", "list of ann@m\xfcnchen.de, 2024"),
        ("ann@m\xfcnchen.de", "list of ann@mu\u0308nchen.de, 2024"),
        ("j\xfcrgen@example.org", "list of ju\u0308rgen@example.org, 2024"),
        ("ann@example.org", "https://lists.example/ann%40example.org.csv"),
        ("ann+x@example.org", "https://lists.example/ann%2Bx%40example.org"),
    ],
)
def test_other_forms_of_an_address_are_found_in_texts(given: str, text: str) -> None:
    """Punycode and Unicode, decomposed letters as macOS names files, and what URLs make of signs."""
    wanted = Wanted.of(given)
    assert wanted.is_in(text)
    assert not wanted.is_in(wanted.without(text))


@on_sqlite
@pytest.mark.parametrize(
    "given", ["<{}>", "Ann <{}>", "mailto:{}", "{}.", " {}; ", "'{}'", "\u201c{}\u201d", "\u200b{}", "{} (Ann)"]
)
def test_an_address_is_found_however_it_is_pasted(engine: Engine, given: str) -> None:
    """The person was told that nothing was found."""
    queue(engine, [ANN])
    assert erase_person(engine, given.format(ANN), exports=[]).contacts == 1
    assert ANN not in _all_of(engine)


@pytest.mark.parametrize("given", ["ann", "a@example.org b@example.org", "a@example.org,b@example.org", "@", ""])
def test_what_is_no_address_erases_nobody(given: str) -> None:
    """Nor do several."""
    with pytest.raises(InputRefused, match="--email is no e-mail address"):
        Wanted.of(given)


@on_sqlite
def test_the_database_looks_for_each_form(engine: Engine) -> None:
    """A text that the condition does not find is not looked at."""
    table = Base.metadata.tables["Requests"]
    queue(engine, ["bob@example.org"])
    for text in ("https://lists.example/ann%40example.org.csv", "ann@example.org.csv"):
        with engine.begin() as connection:
            connection.execute(update(table).values(name=text))
        assert erase_person(engine, "Ann@example.org", exports=[]).texts == 1


@pytest.mark.parametrize(
    ("flow", "parameters"),
    [
        (verify_list, {"file": f"/lists/{ANN}.csv", "name": None}),
        (verify_list, {"file": "/lists/x.csv", "name": f"list of {ANN}\x1b[2J"}),
        *((flow, {"request_id": f"{ANN}.csv"}) for flow in (ingest, dispatch, forecast, verify_risky)),
        *((flow, {"request_id": f"{ANN}.csv"}) for flow in (cancel, export_request)),
    ],
)
def test_no_run_is_named_for_a_person(
    flow: Flow[..., object], parameters: Mapping[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect's events keep the names of runs, and nobody can delete them."""
    monkeypatch.setattr("prefect.runtime.flow_run.get_parameters", lambda: parameters)
    assert callable(flow.flow_run_name)
    name = flow.flow_run_name()
    assert "ann" not in name
    assert name.isprintable()


@on_sqlite
def test_what_is_beyond_reach_is_said(engine: Engine, tmp_path: Path) -> None:
    """Prefect's events, an earlier list of a request, and an SQLite file that somebody reads meanwhile."""
    for name in ("first", "second"):
        (tmp_path / f"{name}.csv").write_text(f"email\n{name}@example.org\n{ANN} or bob@example.org\n")
        import_contacts(engine, tmp_path / f"{name}.csv", request_name="both", add=True)
    queue(engine, [ANN])
    engine.dispose()
    reader = sqlite3.connect(str(engine.url.database), isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM Users").fetchall()
    left = "\n".join(erase_person(engine, ANN, exports=[]).not_reached)
    reader.close()
    assert "the SQLite file, which somebody is reading" in left
    assert "earlier lists of a request" in left
    assert "the Prefect server's" in left
