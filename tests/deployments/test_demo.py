"""``bouncer-flows demo``, which is what newcomers run first, and where."""

import csv
from pathlib import Path

import pytest
from sqlalchemy import func, select

from bouncer.storage.engine import engine_for
from bouncer.storage.tables import QueuedContact
from tests.deployments.running_commands import Ended, clean_environment, run
from tests.sandbox_process import SandboxHandle

_CONTACTS = 50


def _demo(home: Path, **settings: str) -> Ended:
    arguments = ["demo", "--contacts", str(_CONTACTS), "--folder", str(home / "demo")]
    return run(arguments, clean_environment(home, **settings))


def _verdicts(home: Path, **settings: str) -> list[str]:
    ended = _demo(home, **settings)
    assert ended.code == 0, ended.err
    with (home / "demo" / "results.csv").open(encoding="utf-8", newline="") as file:
        return [line["status"] for line in csv.DictReader(file)]


@pytest.mark.long
@pytest.mark.scenario
def test_a_demo_touches_nothing_but_its_own(tmp_path: Path) -> None:
    """A demo goes to no Prefect server that others use, and a second one not to the database of the first."""
    database = f"sqlite:///{tmp_path / 'mine.db'}"
    others = "http://127.0.0.1:9/api"
    assert all(_verdicts(tmp_path, DATABASE_URL=database, PREFECT_API_URL=others))
    verdicts = _verdicts(tmp_path, PREFECT_API_URL=others)
    assert len(verdicts) == _CONTACTS
    assert all(verdicts)
    engine = engine_for(database)
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(QueuedContact)) == _CONTACTS
    engine.dispose()


@pytest.mark.long
@pytest.mark.thorough
def test_a_demo_with_a_wrong_key_leaves_nothing_behind(tmp_path: Path, sandbox: SandboxHandle) -> None:
    """The sample once stayed queued in somebody's own database, and the next ingest with a good key sent it."""
    database = f"sqlite:///{tmp_path / 'mine.db'}"
    settings = {"DATABASE_URL": database, "BOUNCER_API_KEY": "wrong", "BOUNCER_API_BASE_URL": sandbox.url}
    ended = _demo(tmp_path, **settings)
    assert (ended.code, "401" in ended.err) == (2, True)
    engine = engine_for(database)
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(QueuedContact)) == 0
    engine.dispose()


@pytest.mark.long
@pytest.mark.thorough
def test_a_demo_with_a_key_costs_nothing_behind_a_proxy(tmp_path: Path) -> None:
    """Whatever Bouncer is called there, what may reach it over the network are its free addresses."""
    # There is no such database, so that nothing is sent.
    database = "mysql://me@127.0.0.1:9/contacts"
    proxy = "https://bouncer.proxy.example/v1.1"
    assert _demo(tmp_path, DATABASE_URL=database, BOUNCER_API_KEY="key", BOUNCER_API_BASE_URL=proxy).code == 2
    with (tmp_path / "demo" / "contacts.csv").open(encoding="utf-8-sig", newline="") as file:
        assert all("@sandbox.usebouncer.com" in ",".join(line) for line in list(csv.reader(file))[1:])
