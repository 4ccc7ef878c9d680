"""Differences between MariaDB, MySQL and SQLite, in one place."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import TIMESTAMP, ColumnElement, Connection, Engine, Float, Select, bindparam, insert, select
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql import func
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.functions import FunctionElement

__all__ = [
    "age_seconds",
    "database_now",
    "ensure_row",
    "has_row",
    "insert_ignoring",
    "is_sqlite",
    "seconds_ago",
    "upsert",
]

_NOW = select(func.current_timestamp())


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


class seconds_ago(FunctionElement[datetime]):  # noqa: N801  # as above
    """The moment so many seconds ago, by the database's clock; an index leads to rows since then."""

    type = TIMESTAMP()
    inherit_cache = True


@compiles(seconds_ago)
def _ago_mysql(element: seconds_ago, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"(CURRENT_TIMESTAMP - INTERVAL {compiler.process(element.clauses, **kwargs)} SECOND)"


@compiles(seconds_ago, "sqlite")
def _ago_sqlite(element: seconds_ago, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"datetime(unixepoch() - {compiler.process(element.clauses, **kwargs)}, 'unixepoch')"


def has_row(query: Select[Any]) -> ColumnElement[bool]:
    """The condition that a query of one column, which is never NULL, has a row; correlated with what it stands in."""
    # With LIMIT, and not EXISTS, which MariaDB may answer by reading all rows that the query could have.
    return query.limit(1).scalar_subquery().is_not(None)


def is_sqlite(bind: Connection | Engine) -> bool:
    """Tells whether this is SQLite, which has one writer and no row locks."""
    return bind.dialect.name == "sqlite"


def database_now(connection: Connection) -> datetime:
    """The database's own clock, in UTC, to the second, without a time zone (as its columns are)."""
    now = connection.scalar(_NOW)
    moment = datetime.fromisoformat(now) if isinstance(now, str) else now
    if not isinstance(moment, datetime):
        raise TypeError("the database told no time")
    return moment.replace(tzinfo=None, microsecond=0)


def insert_ignoring(bind: Connection, table: Any) -> Insert:
    """An INSERT that leaves alone the rows whose key is there already."""
    return insert(table).prefix_with("OR IGNORE" if is_sqlite(bind) else "IGNORE")


def ensure_row(connection: Connection, key: InstrumentedAttribute[str], value: str) -> None:
    """Makes the row with this key if there is none yet.

    Looks first: on MariaDB and MySQL an INSERT that finds the row there already takes a shared lock on it, and of two
    transactions that then both want to change it, one ends in a deadlock.

    Args:
        connection: In a transaction that writes.
        key: The column that is the table's key; the others have defaults.
        value: The key of the row.
    """
    if connection.scalar(_keyed(key), {"value": value}) is None:
        connection.execute(insert_ignoring(connection, key.class_), {key.key: value})


@cache
def _keyed(key: InstrumentedAttribute[str]) -> Select[str]:
    return select(key).where(key == bindparam("value"))


def upsert(table: Any, *, lite: bool, key: Sequence[str], then: Callable[[Any], Mapping[str, object]]) -> Insert:
    """An INSERT of a row, given when it is executed, that changes the row whose key is there already.

    Args:
        table: The table.
        lite: Whether it is to be in the dialect of SQLite.
        key: The columns of its unique key.
        then: Given the columns of the new row, says what becomes of the old one's.
    """
    if lite:
        new = sqlite.insert(table)
        return new.on_conflict_do_update(index_elements=list(key), set_=dict(then(new.excluded)))
    added = mysql.insert(table)
    return added.on_duplicate_key_update(dict(then(added.inserted)))
