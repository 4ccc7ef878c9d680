"""Texts in the tables that may name a person: names, reasons, paths, and suggestions for misspelt addresses."""

from collections.abc import Iterator

from sqlalchemy import Connection, Enum, String, Table, select, update
from sqlalchemy.orm import InstrumentedAttribute

from bouncer.erasure.addresses import Wanted
from bouncer.erasure.contacts import try_to
from bouncer.storage.tables import Base, Contact, User

__all__ = ["erase_from_texts"]

_SHORTEST = 100
"""Columns of fewer characters hold names that are given here, and no texts."""

_OF_PEOPLE: tuple[InstrumentedAttribute[str] | InstrumentedAttribute[str | None], ...] = (Contact.email, User.email)
"""These are the people themselves."""


def erase_from_texts(connection: Connection, wanted: Wanted) -> tuple[int, tuple[str, ...]]:
    """Takes an address out of all texts of all tables; each is read once, whole.

    Args:
        connection: In a transaction that writes.
        wanted: The address.

    Returns:
        How many texts were changed, and the columns whose texts could not be.
    """
    changed, refused = 0, []
    for table in Base.metadata.sorted_tables:
        for column in _texts_of(table):
            key = list(table.primary_key.columns)
            for row in connection.execute(select(table.c[column], *key).where(wanted.maybe_in(table.c[column]))).all():
                without = wanted.without(row[0])
                if without == row[0]:
                    continue
                one = update(table).where(*(part == value for part, value in zip(key, row[1:], strict=True)))
                if try_to(connection, one.values({column: without})) is None:
                    refused.append(f"{table.name}.{column}")
                else:
                    changed += 1
    return changed, tuple(dict.fromkeys(refused))


def _texts_of(table: Table) -> Iterator[str]:
    people = {(column.class_.__tablename__, column.key) for column in _OF_PEOPLE}
    for column in table.columns:
        kind = column.type
        if not isinstance(kind, String) or isinstance(kind, Enum) or (table.name, column.name) in people:
            continue
        if (kind.length or _SHORTEST) >= _SHORTEST:
            yield column.name
