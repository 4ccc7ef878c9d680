"""Deletions at Bouncer: a batch that is loaded leaves no addresses and no results there."""

from sqlalchemy import Connection, exists, select

from bouncer.batches.state import BatchState, is_in, was_accepted
from bouncer.storage.dialects import insert_ignoring
from bouncer.storage.tables import Batch, Deletion
from bouncer.storage.transactions import reading, writing

__all__ = ["note_deleted", "to_delete"]

_MOST = 200
"""An hour's housekeeping deletes so many at most: each is a request to Bouncer."""


@reading
def to_delete(connection: Connection, account: str) -> list[tuple[int, str]]:
    """The newest loaded batches that Bouncer was not seen to delete.

    Args:
        connection: In a transaction.
        account: The account.

    Returns:
        Our number and Bouncer's id of each.
    """
    query = (
        select(Batch.id, Batch.bouncer_id)
        .where(
            Batch.account == account,
            is_in(BatchState.COMPLETED),
            was_accepted(),
            ~exists().where(Deletion.batch_id == Batch.id),
        )
        .order_by(Batch.id.desc())
        .limit(_MOST)
    )
    return [(batch, str(bouncer_id)) for batch, bouncer_id in connection.execute(query)]


@writing
def note_deleted(connection: Connection, batch: int) -> None:
    """Writes down that Bouncer has nothing of a batch any more; safe to run twice."""
    connection.execute(insert_ignoring(connection, Deletion), {"batch_id": batch})
