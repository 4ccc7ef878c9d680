"""Moving out of an SQLite file into MariaDB or MySQL, with everything that was paid for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Engine,
    MetaData,
    Row,
    Select,
    Table,
    Text,
    delete,
    func,
    insert,
    not_,
    select,
    tuple_,
)

from bouncer.batches.ownership import has_no_owner
from bouncer.batches.state import UNSETTLED, is_in
from bouncer.errors import InputRefused
from bouncer.plurals import counted
from bouncer.storage.engine import engine_for
from bouncer.storage.migrate import pending
from bouncer.storage.tables import Base, Database
from bouncer.storage.transactions import reading, writing

__all__ = ["Moved", "move"]

_CHUNK_ROWS = 2_000
_AnyRow = Row[*tuple[object, ...]]


@dataclass(frozen=True)
class Moved:
    """Result of a move.

    Attributes:
        rows: Rows by table.
    """

    rows: dict[str, int]


def move(file: Path, target: Engine, *, progress: Callable[[int], None] | None = None) -> Moved:
    """Copies all rows of an SQLite file into an empty database, in one transaction; the file is only read.

    Run again after it was cut short, it begins anew; after it has succeeded, it refuses, since there are rows.

    Args:
        file: The SQLite file.
        target: The empty database, whose tables are there.
        progress: Called with the rows copied so far.

    Returns:
        What was copied.

    Raises:
        InputRefused: There is no such file, its tables are of another version, somebody works on its batches, or the
            database has rows.
        DatabaseUnavailable: The database cannot be reached.
    """
    if not file.is_file():
        raise InputRefused(f"{file}: there is no such file; BOUNCER_FLOWS_HOME has it, as contacts.db")
    source = engine_for(f"sqlite:///{file.absolute()}")
    try:
        if pending(source):
            raise InputRefused(f"the tables of {file} are of an older version; run bouncer-flows setup on it first")
        if busy := _count_owned(source):
            batches = counted(busy, "batch is", "batches are")
            raise InputRefused(f"{file}: {batches} being worked on; stop ingest and serve, then try again")
        return Moved(_copy_all(target, source, progress))
    finally:
        source.dispose()


@reading
def _count_owned(connection: Connection) -> int:
    query = select(func.count()).where(is_in(*UNSETTLED), not_(has_no_owner()))
    return connection.scalar(query) or 0


@writing
def _copy_all(connection: Connection, source: Engine, progress: Callable[[int], None] | None) -> dict[str, int]:
    # It becomes the one that is moved; its name for itself was made with its tables.
    connection.execute(delete(Database))
    for table in Base.metadata.sorted_tables:
        if connection.execute(select(table).limit(1)).first() is not None:
            raise InputRefused(
                f"table {table.name} of the database that DATABASE_URL names has rows already; name an empty database"
            )
    copied: dict[str, int] = {}
    for table in map(_plain, Base.metadata.sorted_tables):
        copied[table.name] = 0
        for rows in _chunks(source, table):
            connection.execute(insert(table), [row._asdict() for row in rows])
            copied[table.name] += len(rows)
            if progress is not None:
                progress(sum(copied.values()))
    return copied


def _plain(table: Table) -> Table:
    # JSON travels as the text that it is: read and written as values, its NULLs would become JSON's null.
    columns = [
        Column(column.name, Text() if isinstance(column.type, JSON) else column.type, primary_key=column.primary_key)
        for column in table.columns
    ]
    return Table(table.name, MetaData(), *columns)


def _chunks(source: Engine, table: Table) -> Iterator[Sequence[_AnyRow]]:
    key = list(table.primary_key.columns)
    query = select(table).order_by(*key).limit(_CHUNK_ROWS)
    rows = _fetch(source, query)
    while rows:
        yield rows
        last = rows[-1]._mapping
        rows = _fetch(source, query.where(tuple_(*key) > tuple_(*(last[column] for column in key))))


@reading
def _fetch(connection: Connection, query: Select[*tuple[object, ...]]) -> Sequence[_AnyRow]:
    return connection.execute(query).all()
