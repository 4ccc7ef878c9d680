"""What MariaDB, MySQL and SQLite say differently, said once."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, Float, insert, select
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import func
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.functions import FunctionElement

__all__ = ["age_seconds", "database_now", "insert_ignoring", "insert_or_update", "is_sqlite"]


class age_seconds(FunctionElement[float]):  # noqa: N801  # reads as the SQL function that it is
    """Seconds since a timestamp column, by the database's clock; workers' clocks may differ."""

    type = Float()
    inherit_cache = True


@compiles(age_seconds)
def _age_mysql(element: age_seconds, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"TIMESTAMPDIFF(SECOND, {compiler.process(element.clauses, **kwargs)}, CURRENT_TIMESTAMP)"


@compiles(age_seconds, "sqlite")
def _age_sqlite(element: age_seconds, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"(unixepoch() - unixepoch({compiler.process(element.clauses, **kwargs)}))"


def is_sqlite(bind: Connection | Engine) -> bool:
    """Whether this is SQLite, which has one writer and no row locks."""
    return bind.dialect.name == "sqlite"


def database_now(connection: Connection) -> datetime:
    """The database's own clock, in UTC, to the second, without a time zone (as its columns are)."""
    now = connection.scalar(select(func.current_timestamp()))
    moment = datetime.fromisoformat(now) if isinstance(now, str) else now
    if not isinstance(moment, datetime):
        raise TypeError("the database told no time")
    return moment.replace(tzinfo=None, microsecond=0)


def insert_ignoring(bind: Connection, table: Any) -> Insert:
    """An INSERT that leaves alone the rows whose key is there already."""
    return insert(table).prefix_with("OR IGNORE" if is_sqlite(bind) else "IGNORE")


def insert_or_update(dialect: Dialect, table: Any, columns: Sequence[str], keys: Sequence[str]) -> Insert:
    """An INSERT that overwrites the row whose key is there already, so that running it twice changes nothing.

    Args:
        dialect: Of the connection that will run it.
        table: The table.
        columns: The columns to write.
        keys: The columns of the primary key.

    Returns:
        The statement, without its rows.
    """
    updated = [name for name in columns if name not in keys]
    if dialect.name == "sqlite":
        to_sqlite = sqlite.insert(table)
        return to_sqlite.on_conflict_do_update(
            index_elements=list(keys), set_={name: to_sqlite.excluded[name] for name in updated}
        )
    to_mysql = mysql.insert(table)
    return to_mysql.on_duplicate_key_update({name: to_mysql.inserted[name] for name in updated})
