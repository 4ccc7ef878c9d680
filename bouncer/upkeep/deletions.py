"""Deletions at Bouncer: a batch that is loaded leaves no addresses and no results there."""

from sqlalchemy import Connection, and_, exists, or_, select

from bouncer.batches.state import SETTLED, BatchState, is_in, was_accepted
from bouncer.storage.dialects import insert_ignoring
from bouncer.storage.tables import Batch, Deletion
from bouncer.storage.transactions import reading, writing

__all__ = ["has_erased", "note_deleted", "to_delete"]

_MOST = 200
"""An hour's housekeeping deletes so many at most: each is a request to Bouncer."""


@reading
def to_delete(connection: Connection, account: str, *, every: bool) -> list[tuple[int, str]]:
    """The newest batches at their end that Bouncer should delete and was not seen to.

    Args:
        connection: In a transaction.
        account: The account.
        every: Not only those with an erased address, but all that were loaded.

    Returns:
        Our number and Bouncer's id of each.
    """
    # One of these that failed was given up here; Bouncer may have it all the same.
    with_erased = and_(is_in(*SETTLED), Batch.erased > 0)
    query = (
        select(Batch.id, Batch.bouncer_id)
        .where(
            Batch.account == account,
            or_(is_in(BatchState.COMPLETED), with_erased) if every else with_erased,
            was_accepted(),
            ~exists().where(Deletion.batch_id == Batch.id),
        )
        .order_by(Batch.id.desc())
        .limit(_MOST)
    )
    return [(batch, str(bouncer_id)) for batch, bouncer_id in connection.execute(query)]


@reading
def has_erased(connection: Connection, batch: int) -> bool:
    """Tells whether an address of a batch was erased, so that Bouncer is to delete the batch in any case."""
    return bool(connection.scalar(select(Batch.erased).where(Batch.id == batch)))


@writing
def note_deleted(connection: Connection, batch: int) -> None:
    """Writes down that Bouncer has nothing of a batch any more; safe to run twice."""
    connection.execute(insert_ignoring(connection, Deletion), {"batch_id": batch})
