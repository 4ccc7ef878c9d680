"""Upgrades: a database of each earlier version, with data at every step, goes on where it was."""

import sqlite3
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, make_url, text

from bouncer.accounts.state import PauseKind, read_states
from bouncer.batches import transitions
from bouncer.batches.state import BatchState
from bouncer.requests.requeueing import requeue
from bouncer.storage.engine import engine_for, read, write
from bouncer.storage.migrate import pending, upgrade
from bouncer.storage.tables import Batch
from tests.bouncer.contacts import claim, load_verdicts, queue_rows, sent, set_back, take, verdicts
from tests.contacts import statuses
from tests.releases.freeze import FOLDER

_VERSIONS = sorted({path.name.rpartition(".")[0].rpartition(".")[0] for path in FOLDER.glob("*.sql")})


def restore_release(version: str, url: str) -> None:
    """Fills an empty database with what a version left."""
    kind = "sqlite" if url.startswith("sqlite") else "mariadb"
    dump = (FOLDER / f"{version}.{kind}.sql").read_text()
    if url.startswith("sqlite"):
        connection = sqlite3.connect(str(make_url(url).database))
        connection.executescript(dump)
        connection.close()
        return
    engine = engine_for(url)
    with engine.begin() as connection:
        for statement in dump.splitlines():
            connection.exec_driver_sql(statement.removesuffix(";").replace("%", "%%"))
    engine.dispose()


@pytest.fixture(params=_VERSIONS)
def old_engine(request: pytest.FixtureRequest, database_url: str) -> Iterator[Engine]:
    """A database as a version left it."""
    restore_release(request.param, database_url)
    engine = engine_for(database_url)
    yield engine
    engine.dispose()


def test_every_contact_of_an_older_version_goes_on(old_engine: Engine) -> None:
    """What was settled stays, what was at Bouncer is loaded, what was lost is decided, what waited is claimed."""
    with old_engine.begin() as connection:
        # Until 0.1.0 is released its revision may grow; without the stamp, all its steps look for what is missing.
        connection.execute(text("DELETE FROM bouncer_schema_version"))
    upgrade(old_engine)
    assert pending(old_engine) == []
    assert statuses(old_engine) == {"completed": 3, "failed": 3, "assigned": 6, "queued": 3}
    settled = [row for row in queue_rows(old_engine) if row.status == "completed"]
    assert [(row.bouncer_status, row.bouncer_score) for row in settled] == [("deliverable", 80)] * 3

    set_back(old_engine, Batch.heartbeat_ts, 3600)
    flying = take(old_engine, 3)
    assert (flying.state, flying.bouncer_id) == (BatchState.QUEUED_AT_BOUNCER, "bouncer-3")
    assert take(old_engine, 4).state is BatchState.UPLOADING
    write(old_engine, transitions.record_verified, flying, 3)
    names = [f"flying.{number}@example.com" for number in range(3)]
    assert load_verdicts(old_engine, take(old_engine, 3), verdicts(names)).settled == 3
    assert requeue(old_engine).contacts == 3
    waiting = [batch for _ in range(2) for batch in claim(old_engine).batches]
    assert sorted(address for batch in waiting for address in sent(old_engine, batch.id)) == sorted(
        f"{kind}.{number}@example.com" for kind in ("failed", "waiting") for number in range(3)
    )


def test_what_reasons_told_in_words_becomes_columns(old_engine: Engine) -> None:
    """Pauses by what ended them, contacts of cancelled requests, and batches with progress are what they were."""
    pauses = {
        "poor": ("ingest", "out of credits"),
        "wanted": ("anna", "out of credits"),
        "older": ("ingest", "the contacts database is older than uploads that were made from it, so look"),
    }
    with old_engine.begin() as connection:
        connection.execute(text("DELETE FROM bouncer_schema_version"))
        for account, (by, reason) in pauses.items():
            connection.execute(
                text(
                    "INSERT INTO Bouncer_Accounts (account, paused_ts, paused_by, paused_reason)"
                    " VALUES (:account, CURRENT_TIMESTAMP, :by, :reason)"
                ),
                {"account": account, "by": by, "reason": reason},
            )
        failed = "SELECT MIN(queue_id) FROM Bouncer_Queue WHERE status = 'failed'"
        first = connection.execute(text(failed)).scalar_one()
        cancelled = "UPDATE Bouncer_Queue SET error_message = 'cancelled by ann: wrong list' WHERE queue_id = :id"
        connection.execute(text(cancelled), {"id": first})
        connection.execute(text("UPDATE Bouncer_Batches SET processed = 1 WHERE id = 3"))
    upgrade(old_engine)
    states = read(old_engine, read_states, list(pauses))
    assert {name: state.paused_kind for name, state in states.items()} == {
        "poor": PauseKind.OUT_OF_CREDITS,
        "wanted": PauseKind.PERSON,
        "older": PauseKind.RESTORED,
    }
    assert [row.queue_id for row in queue_rows(old_engine) if row.cancelled] == [first]
    set_back(old_engine, Batch.heartbeat_ts, 3600)
    assert take(old_engine, 3).state is BatchState.RUNNING_AT_BOUNCER
