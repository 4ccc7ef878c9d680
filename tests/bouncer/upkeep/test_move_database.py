"""Moving from SQLite to MariaDB keeps everything that was paid for, and what is under way."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, text, update

from bouncer.errors import InputRefused
from bouncer.storage.engine import engine_for
from bouncer.storage.migrate import upgrade
from bouncer.storage.tables import Base, Batch
from bouncer.upkeep.move_database import move
from tests.bouncer.contacts import load_verdicts, queue, small_batches, verdicts, verify

_JSON = {"Bouncer_Results": ("domain_info", "account_info", "dns_info")}


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Engine]:
    """An SQLite database with a settled batch, one that waits, and contacts in the queue."""
    engine = engine_for(f"sqlite:///{tmp_path / 'contacts.db'}")
    upgrade(engine)
    settled, _ = small_batches(engine, 2)
    with engine.begin() as connection:
        connection.execute(update(Batch).where(Batch.id == settled).values(error_message="O'Neil, \\ and ünïcode"))
    batch = verify(engine, settled)
    with engine.connect() as connection:
        emails = [str(email) for email in connection.execute(text("SELECT email FROM Contacts_Global")).scalars()]
    load_verdicts(engine, batch, verdicts(emails, domain={"name": "example.com", "acceptAll": "yes"}))
    queue(engine, ["later@example.com"])
    yield engine
    engine.dispose()


@pytest.fixture
def new(server_url: str) -> Iterator[Engine]:
    """An empty MariaDB database with all tables."""
    engine = engine_for(server_url)
    upgrade(engine)
    yield engine
    engine.dispose()


def _rows(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    with engine.connect() as connection:
        found = {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]
            for table in Base.metadata.sorted_tables
        }
        for table, columns in _JSON.items():
            for column in columns:
                # A value that was not told must not become JSON's null.
                nulls = f"SELECT COUNT(*) FROM {table} WHERE {column} IS NULL"
                found[f"{table}.{column}"] = [(connection.execute(text(nulls)).scalar(),)]
    return found


def test_every_row_is_copied(old: Engine, new: Engine, tmp_path: Path) -> None:
    """All tables are the same afterwards, verdicts, credits and contacts under way included."""
    before = _rows(old)
    moved = move(tmp_path / "contacts.db", new)
    assert _rows(new) == before == _rows(old)
    assert moved.rows["Bouncer_Results"] > 0
    assert sum(moved.rows.values()) == sum(len(rows) for name, rows in before.items() if "." not in name)


def test_what_is_added_later_has_an_id_of_its_own(old: Engine, new: Engine, tmp_path: Path) -> None:
    """New contacts go in behind those that were copied."""
    move(tmp_path / "contacts.db", new)
    assert len(queue(new, ["new@example.com"])) == 1


def test_a_database_with_rows_is_left_alone(old: Engine, new: Engine, tmp_path: Path) -> None:
    """Moving twice, or into somebody's tables, changes nothing and says so."""
    move(tmp_path / "contacts.db", new)
    before = _rows(new)
    with pytest.raises(InputRefused, match="has rows already; name an empty database"):
        move(tmp_path / "contacts.db", new)
    assert _rows(new) == before


def test_a_batch_that_is_being_worked_on_stays(old: Engine, new: Engine, tmp_path: Path) -> None:
    """Its run would go on in the file while another begins in the new database, and pay twice."""
    with old.begin() as connection:
        connection.execute(
            update(Batch).where(Batch.status == "queued").values(owner="worker", heartbeat_ts=func.current_timestamp())
        )
    with pytest.raises(InputRefused, match="1 batch is being worked on; stop ingest and serve"):
        move(tmp_path / "contacts.db", new)


def test_a_file_that_is_not_there_is_not_made(new: Engine, tmp_path: Path) -> None:
    """A misspelt name is told, and leaves no empty database behind."""
    with pytest.raises(InputRefused, match="there is no such file"):
        move(tmp_path / "contcats.db", new)
    assert not (tmp_path / "contcats.db").exists()
