"""Databases with all tables and no rows, used again by one test after the other: to make one takes half a second."""

from collections import defaultdict
from typing import Any

from sqlalchemy import Connection, Engine, text

from bouncer.storage.engine import engine_for
from bouncer.storage.migrate import upgrade
from tests.database_server import DatabaseServer

__all__ = ["ReadyDatabases"]

_SHAPE = """
    SELECT table_name, column_name, column_type, is_nullable, column_default, collation_name, extra
    FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY 1, 2
"""
_KEYS = """
    SELECT table_name, index_name, seq_in_index, column_name, non_unique
    FROM information_schema.statistics WHERE table_schema = DATABASE() ORDER BY 1, 2, 3
"""
_NUMBERED = """
    SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND auto_increment > 1
"""
# The two tables whose rows come with the tables.
_KEPT = ("bouncer_schema_version", "Bouncer_Database")


class ReadyDatabases:
    """The databases of one test process, by server."""

    def __init__(self) -> None:
        self._free: dict[DatabaseServer, list[str]] = defaultdict(list)
        self._as_made: dict[str, list[Any]] = {}

    def take(self, server: DatabaseServer) -> str:
        """The name of a database that is as the migrations leave it."""
        if self._free[server]:
            return self._free[server].pop()
        name = server.create_database()
        engine = engine_for(server.url(name))
        upgrade(engine)
        self._as_made[name] = _facts(engine)
        engine.dispose()
        return name

    def give_back(self, server: DatabaseServer, name: str) -> None:
        """Takes the rows out of a database; one whose tables a test has changed is dropped."""
        engine = engine_for(server.url(name))
        try:
            kept = _facts(engine) == self._as_made[name]
            if kept:
                _empty(engine)
        finally:
            engine.dispose()
        if kept:
            self._free[server].append(name)
        else:
            server.drop_database(name)


def _facts(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        queries = [_SHAPE, _KEYS, *(f"SELECT * FROM {table}" for table in _KEPT)]
        return [[tuple(row) for row in connection.execute(text(query))] for query in queries]


def _empty(engine: Engine) -> None:
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        _run(connection, "SET foreign_key_checks = 0, lock_wait_timeout = 10")
        if not engine.dialect.is_mariadb:  # type: ignore[attr-defined]  # a server's dialect has it
            _run(connection, "SET information_schema_stats_expiry = 0")
        tables = [name for (name,) in connection.execute(text("SHOW TABLES")) if name not in _KEPT]
        filled = " UNION ALL ".join(f"SELECT '{name}' FROM DUAL WHERE EXISTS (SELECT 1 FROM {name})" for name in tables)
        for (name,) in {*connection.execute(text(filled)), *connection.execute(text(_NUMBERED))}:
            _run(connection, f"TRUNCATE {name}")


def _run(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement)
