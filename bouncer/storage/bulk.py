"""Brings rows over to the database in bulk: into a table, or a temporary one for set-based statements to work on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Column, Connection, Integer, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.dialects.mysql import BINARY, LONGTEXT
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable
from sqlalchemy.types import DateTime, TypeEngine

from bouncer.prefetching import one_ahead
from bouncer.storage.dialects import is_sqlite
from bouncer.storage.local_infile import can_load_files, load_rows

if TYPE_CHECKING:
    import pandas as pd

    Columns = pd.DataFrame | Mapping[str, Sequence[Any]]

__all__ = ["frame_of", "insert_all", "stage"]

_STATEMENT_BYTES = 250_000
"""Fits max_allowed_packet as servers have it by default: 4 MB on MySQL 5.7, 16 MB on MariaDB, 64 MB on MySQL 8."""

_STRETCH_ROWS = 1_000

_met: dict[tuple[Any, ...], tuple[str, str, Table]] = {}
"""The statements that create and empty each temporary table, and the one object that stands for all tables alike:
SQLAlchemy compiles a statement anew for each table that it has not met, and those compiled push others out of its
cache."""


# A binary collation compares with any other of utf8mb4 without "illegal mix of collations".
_STORAGE: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def stage(connection: Connection, name: str, columns: Mapping[str, TypeEngine[Any]], rows: "Columns") -> Table:
    """Creates a temporary table, only this connection's, and fills it; one of the same name and columns is replaced.

    On MariaDB and MySQL a statement can name the table once only, and the account needs the privilege CREATE
    TEMPORARY TABLES. Neither creating nor replacing it commits the transaction.

    Args:
        connection: In a transaction that writes.
        name: The table's name.
        columns: Name and type of each column: Integer, String, Text, LargeBinary, DateTime (UTC, without a zone),
            or JSON for a column that holds JSON as text.
        rows: A frame or a mapping with at least these columns. None, and in a frame NaN and NaT, become NULL.

    Returns:
        The table with these columns, for use in statements.
    """
    lite = is_sqlite(connection)
    kinds = {column: kind if lite else _on_server(kind) for column, kind in columns.items()}
    if not lite:
        connection.exec_driver_sql(f"DROP TEMPORARY TABLE IF EXISTS {name}")
    alike = (name, lite, *((column, repr(kind)) for column, kind in kinds.items()))
    if alike not in _met:
        table = _as_read(name, kinds)
        _met[alike] = _creation(connection, name, kinds), str(table.delete()), table
    creation, emptying, table = _met[alike]
    connection.exec_driver_sql(creation)
    if lite:
        # SQLite would prepare all statements of the connection anew for a table that comes or goes.
        connection.exec_driver_sql(emptying)
    insert_all(connection, "INSERT", name, columns, rows)
    return table


def _creation(connection: Connection, name: str, kinds: Mapping[str, TypeEngine[Any]]) -> str:
    # Servers can be told to refuse every table without a key, temporary ones too; SQLite has its own.
    key = () if is_sqlite(connection) else (Column("staged_row", Integer, primary_key=True),)
    columns = (Column(column, kind) for column, kind in kinds.items())
    made = Table(name, MetaData(), *key, *columns, prefixes=["TEMPORARY"], **_STORAGE)
    return str(CreateTable(made, if_not_exists=is_sqlite(connection)).compile(connection))


def _as_read(name: str, kinds: Mapping[str, TypeEngine[Any]]) -> Table:
    return Table(name, MetaData(), *(Column(column, kind) for column, kind in kinds.items()))


def insert_all(
    connection: Connection, verb: str, table: str, columns: Mapping[str, TypeEngine[Any]], rows: "Columns"
) -> None:
    """Writes rows into a table, in few and large statements.

    Args:
        connection: In a transaction that writes.
        verb: ``INSERT``, or ``REPLACE`` to overwrite the rows whose key is there already.
        table: The table's name.
        columns: As for ``stage``.
        rows: As for ``stage``.
    """
    quoted = ", ".join(map(connection.dialect.identifier_preparer.quote, columns))
    head = f"{verb} INTO {table} ({quoted}) VALUES "
    cells = [_plain(rows[column], kind) for column, kind in columns.items()]
    if is_sqlite(connection):
        values = list(zip(*cells, strict=True))
        if values:
            connection.exec_driver_sql(head + f"({', '.join('?' * len(cells))})", values)
        return
    if can_load_files(connection):
        load_rows(connection, verb, table, columns, cells)
        return
    # The next statement is written while the database is busy with this one.
    for statement in one_ahead(_statements(head, _rows(cells, list(columns.values())))):
        try:
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
        except DBAPIError as error:
            # Its text quotes the statement, which holds the rows.
            error.statement = f"{head}…"
            raise


def _on_server(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    if isinstance(kind, LargeBinary) and kind.length is not None:
        return BINARY(kind.length)
    if isinstance(kind, JSON):
        # The column it goes to checks it; once is enough.
        return LONGTEXT()
    return kind


def _plain(column: "pd.Series[Any] | Sequence[Any]", kind: TypeEngine[Any]) -> Sequence[Any]:
    if not isinstance(kind, Integer | DateTime | String | Text | LargeBinary | JSON):
        raise TypeError(f"cannot stage a column of type {kind!r}")
    if isinstance(column, Sequence):
        values = column
    else:
        values = column.tolist()
        # Those that are missing alone: pandas takes eight times as long to put None into a short column.
        for missing in column.isna().to_numpy().nonzero()[0].tolist():
            values[missing] = None
    if isinstance(kind, Integer):
        # A column of numbers with gaps is one of floats in pandas.
        return [None if value is None else int(value) for value in values]
    if isinstance(kind, DateTime):
        return [None if value is None else f"{value:%Y-%m-%d %H:%M:%S}" for value in values]
    return values


def _rows(cells: Sequence[Sequence[Any]], kinds: Sequence[TypeEngine[Any]]) -> Iterator[Sequence[str]]:
    for start in range(0, len(cells[0]), _STRETCH_ROWS):
        stretch = slice(start, start + _STRETCH_ROWS)
        literals = [_literals(values[stretch], kind) for values, kind in zip(cells, kinds, strict=True)]
        yield from zip(*literals, strict=True)


def _literals(values: Sequence[Any], kind: TypeEngine[Any]) -> list[str]:
    if isinstance(kind, Integer):
        return ["NULL" if value is None else str(value) for value in values]
    if isinstance(kind, LargeBinary):
        return ["NULL" if value is None else f"x'{value.hex()}'" for value in values]
    # Most columns repeat a few values.
    literals = {value: _text_literal(value) for value in set(values)}
    return [literals[value] for value in values]


def _text_literal(text: str | None) -> str:
    # PyMySQL's escaping takes most of the time of a bulk insert. What needs none goes as it is; hexadecimal needs none
    # either, and nothing in it can end a literal. One JSON parameter that the server unpacks with JSON_TABLE is slower.
    if text is None:
        return "NULL"
    if text.isascii() and "'" not in text and "\\" not in text:
        return f"'{text}'"
    return f"_utf8mb4 x'{text.encode().hex()}'"


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


def frame_of(rows: Iterable[Sequence[Any]], columns: Sequence[str]) -> "pd.DataFrame":
    """Makes a frame, column by column: pandas takes three times as long over single rows of SQLAlchemy.

    Args:
        rows: As many values each as there are columns.
        columns: Their names.
    """
    import pandas as pd

    return pd.DataFrame(dict(zip(columns, zip(*rows, strict=True), strict=False)), columns=list(columns))
