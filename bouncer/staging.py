"""Brings rows over to the database in bulk, into a temporary table, for set-based statements to work on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from sqlalchemy import JSON, Column, Connection, Integer, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.dialects.mysql import BINARY, LONGTEXT
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import DateTime, TypeEngine

from bouncer.dialects import is_sqlite

__all__ = ["stage"]

_STATEMENT_BYTES = 1_000_000
"""Fits max_allowed_packet as servers have it by default: 4 MB on MySQL 5.7, 16 MB on MariaDB, 64 MB on MySQL 8."""


def stage(connection: Connection, name: str, columns: Mapping[str, TypeEngine[Any]], frame: pd.DataFrame) -> Table:
    """Creates a temporary table, only this connection's, and fills it; one of the same name is replaced.

    On MariaDB and MySQL a statement can name the table once only, and the account needs the privilege CREATE
    TEMPORARY TABLES. Neither creating nor replacing it commits the transaction.

    Args:
        connection: In a transaction that writes.
        name: The table's name.
        columns: Name and type of each column: Integer, String, Text, LargeBinary, DateTime (UTC, without a zone),
            or JSON for a column that holds JSON as text.
        frame: The rows; has at least these columns. None, NaN and NaT become NULL.

    Returns:
        The table, for use in statements.
    """
    lite = is_sqlite(connection)
    table = Table(
        name,
        MetaData(),
        *(Column(column, kind if lite else _on_server(kind)) for column, kind in columns.items()),
        prefixes=["TEMPORARY"],
        mysql_charset="utf8mb4",
        # Compares with the columns of any other utf8mb4 collation without "illegal mix of collations".
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    connection.exec_driver_sql(
        f"DROP TABLE IF EXISTS temp.{name}" if lite else f"DROP TEMPORARY TABLE IF EXISTS {name}"
    )
    table.create(connection, checkfirst=False)
    cells = [_plain(frame[column], kind) for column, kind in columns.items()]
    quoted = ", ".join(map(connection.dialect.identifier_preparer.quote, columns))
    head = f"INSERT INTO {name} ({quoted}) VALUES "  # noqa: S608  # names are the caller's constants
    if lite:
        rows = list(zip(*cells, strict=True))
        if rows:
            connection.exec_driver_sql(head + f"({', '.join('?' * len(cells))})", rows)
    else:
        for statement in _statements(head, zip(*(map(_literal, column) for column in cells), strict=True)):
            try:
                connection.exec_driver_sql(statement)
            except DBAPIError as error:
                # Its text quotes the statement, which holds the rows.
                error.statement = f"{head}…"
                raise
    return table


def _on_server(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    if isinstance(kind, LargeBinary) and kind.length is not None:
        return BINARY(kind.length)
    if isinstance(kind, JSON):
        # The column it goes to checks it; once is enough.
        return LONGTEXT()
    return kind


def _plain(column: "pd.Series[Any]", kind: TypeEngine[Any]) -> Sequence[Any]:
    known = column.notna()
    if isinstance(kind, Integer):
        # A column of numbers with gaps is one of floats in pandas.
        return [int(value) if there else None for value, there in zip(column, known, strict=True)]
    if isinstance(kind, DateTime):
        return [f"{value:%Y-%m-%d %H:%M:%S}" if there else None for value, there in zip(column, known, strict=True)]
    if not isinstance(kind, String | Text | LargeBinary | JSON):
        raise TypeError(f"cannot stage a column of type {kind!r}")
    return column.tolist() if known.all() else column.astype(object).where(known, None).tolist()


def _literal(value: int | str | bytes | None) -> str:
    # PyMySQL's escaping takes most of the time of a bulk insert (200,000 rows/s); hexadecimal needs none
    # (320,000 rows/s on MariaDB 10.11), and nothing in it can end a literal. One JSON parameter that the server
    # unpacks with JSON_TABLE came to 185,000 rows/s.
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return f"_utf8mb4 x'{value.encode().hex()}'"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    return str(value)


def _statements(head: str, rows: Iterable[Sequence[str]]) -> Iterator[str]:
    values: list[str] = []
    size = 0
    for row in rows:
        value = f"({','.join(row)})"
        values.append(value)
        size += len(value)
        if size >= _STATEMENT_BYTES:
            yield head + ",".join(values)
            values, size = [], 0
    if values:
        yield head + ",".join(values)
