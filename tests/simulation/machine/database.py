"""The contacts database of a simulated world: SQLite in memory, with a virtual clock, whose commits can go wrong."""

import sqlite3
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, PoolProxiedConnection, StaticPool, create_engine

from bouncer.storage.engine import engine_for
from bouncer.storage.migrate import upgrade
from bouncer.storage.tables import Base
from tests.simulation.machine import virtual_time
from tests.simulation.machine.processes import die_if_dead

__all__ = ["Database"]

_Commit = Callable[[Callable[[], None], Callable[[], None]], None]


class _Lasting(sqlite3.Connection):
    """The one connection, which outlives all who close it."""

    on_begin: Callable[[], None] | None = None
    on_commit: _Commit | None = None
    seen = 0

    def commit(self) -> None:
        if self.on_commit is None or self.total_changes == self.seen:
            super().commit()
            return
        self.seen = self.total_changes
        self.on_commit(super().commit, super().rollback)

    def close(self) -> None:
        self.rollback()


class Database:
    """An empty database with all tables, used again for one history after the other.

    Attributes:
        engine: For the product.
        raw: For the judge, and for what an application does: it sees the transaction that is under way.
        skew: How many seconds its clock is wrong.
    """

    def __init__(self) -> None:
        self.skew = 0.0
        self.raw: _Lasting = sqlite3.connect(
            ":memory:", isolation_level=None, factory=_Lasting, check_same_thread=False, cached_statements=2_000
        )
        self.raw.create_function("current_timestamp", 0, self.now)
        # With an argument it is SQLite's own.
        self.raw.create_function("unixepoch", 0, lambda: virtual_time.epoch_second(self.skew))
        self.engine: Engine = create_engine("sqlite://", creator=lambda: self.raw, poolclass=StaticPool)
        # Not as an event, for whose sake SQLAlchemy would look for listeners four times a statement.
        self.engine.dialect.do_begin = _begin  # type: ignore[method-assign]  # there is no setting
        self.restore(_migrated())
        # Those that refer to others come first.
        names = [table.name for table in reversed(Base.metadata.sorted_tables)]
        self._fresh = {name: self.raw.execute(f"SELECT * FROM {name}").fetchall() for name in names}

    def reset(self, on_begin: Callable[[], None], on_commit: _Commit) -> None:
        """Makes it empty, and tells of its transactions from now on."""
        self.raw.rollback()
        # Not by restoring it: all statements would be prepared anew, which takes a tenth of a history's time.
        self.raw.execute("BEGIN")
        for name in self._fresh:
            self.raw.execute(f"DELETE FROM {name}")
        for name, rows in reversed(self._fresh.items()):
            for row in rows:
                self.raw.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(row))})", row)
        self.raw.execute("COMMIT")
        self.skew = 0.0
        self.raw.on_begin, self.raw.on_commit = on_begin, on_commit

    def backup(self) -> bytes:
        """All that is in it."""
        return self.raw.serialize()

    def restore(self, backup: bytes) -> None:
        """Puts it back to what it was."""
        self.raw.rollback()
        self.raw.deserialize(backup)
        self.raw.execute("PRAGMA foreign_keys = ON")

    def now(self) -> str:
        """The present moment by its clock, as its columns have it."""
        return _as_stored(virtual_time.epoch_second(self.skew))


def _begin(dbapi_connection: PoolProxiedConnection) -> None:
    die_if_dead()
    raw: Any = dbapi_connection.dbapi_connection
    if raw.on_begin is not None:
        raw.on_begin()
    raw.execute("BEGIN")


@lru_cache(64)
def _as_stored(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S}"


def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "contacts.db")
        engine = engine_for(f"sqlite:///{file}")
        upgrade(engine)
        engine.dispose()
        with sqlite3.connect(file) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            # What a database is called is chance, and each history begins with the same one.
            connection.execute("UPDATE Bouncer_Database SET id = ?", ("5eed" * 8,))
            connection.commit()
            made = connection.serialize()
        connection.close()
        return made
