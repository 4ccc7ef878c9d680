"""``bouncer-flows demo``, which is what newcomers run first, and where."""

import csv
from pathlib import Path

import pytest
from sqlalchemy import func, select

from bouncer.database import engine_for
from bouncer.tables import QueuedContact
from tests.deployments.commands import clean_environment, run

_CONTACTS = 50


def _verdicts(home: Path, **settings: str) -> list[str]:
    arguments = ["demo", "--contacts", str(_CONTACTS), "--folder", str(home / "demo")]
    ended = run(arguments, clean_environment(home, **settings))
    assert ended.code == 0, ended.err
    with (home / "demo" / "results.csv").open(encoding="utf-8", newline="") as file:
        return [line["status"] for line in csv.DictReader(file)]


@pytest.mark.long
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
