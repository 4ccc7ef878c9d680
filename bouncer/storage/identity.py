"""The identity of a database: an id that it gets with its tables, and keeps through copies and restores."""

from sqlalchemy import Connection, inspect, select

from bouncer.storage.tables import Database
from bouncer.storage.transactions import reading

__all__ = ["database_id"]


@reading
def database_id(connection: Connection) -> str | None:
    """The id of the database, or None where it has none of our tables yet."""
    if not inspect(connection).has_table(Database.__tablename__):
        return None
    return connection.scalars(select(Database.id)).one_or_none()
