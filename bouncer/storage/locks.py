"""Locks that transactions take before they do what only one may do at a time; each ends with its transaction."""

from enum import StrEnum

from sqlalchemy import Connection, select

from bouncer.storage.dialects import ensure_row
from bouncer.storage.tables import Lock

__all__ = ["Only", "alone"]


class Only(StrEnum):
    """Critical sections, by the names of the rows that a transaction locks to enter."""

    CLAIM = "claim"
    """Contacts leave the queue for batches."""
    NEW_CONTACTS = "new contacts"
    """An import makes the contacts that are missing."""
    NEW_USER = "new user"
    """An import makes a user."""


def alone(connection: Connection, what: Only) -> None:
    """Waits until no other transaction does the same.

    A row of a table of its own: what is done under an account's row, such as an upload, need not wait for a claim.
    SQLite has one writer anyway.

    Args:
        connection: In a transaction that writes.
        what: What is to be done.
    """
    ensure_row(connection, Lock.name, what.value)
    connection.execute(select(Lock.name).where(Lock.name == what).with_for_update()).all()
