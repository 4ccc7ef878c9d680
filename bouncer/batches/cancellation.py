"""Check for a cancelled request, made wherever something of a batch is sent or cut short."""

from sqlalchemy import Connection, and_, select

from bouncer.storage.tables import Request

__all__ = ["is_cancelled"]


def is_cancelled(connection: Connection, request_id: int) -> bool:
    """Tells whether a request is cancelled."""
    marked = and_(Request.request_id == request_id, Request.bouncer_cancelled_ts.is_not(None))
    return connection.scalar(select(Request.request_id).where(marked)) is not None
