"""How many batches may be made for workers: for the slots and a little ahead, and always a few of what is urgent."""

from sqlalchemy import Connection, func, select

from bouncer.batches import UNSETTLED, count_under_way
from bouncer.tables import Batch

__all__ = ["room_for"]

_AHEAD_SHARE = 3
_MOST_AHEAD = 5


def room_for(connection: Connection, account: str, slots: int, priority: int | None) -> int:
    """How many more batches of an account may be made for contacts of a priority.

    As many are under way, wherever they are, as there are slots and a third more, so that a freed slot finds the next
    batch ready. Contacts also have room for up to five batches of their own that are ready, counted among the equally
    and the more urgent ones: they overtake whatever else is ready by their work queue. So a queue without end becomes
    no more batches than that, and nobody who is more urgent waits for a batch to end.

    Args:
        connection: In a transaction; only in one that holds the accounts' rows is the answer more than a hint.
        account: The account that the batches are sent with.
        slots: The most batches of it in flight.
        priority: How urgent the contacts are, or None where none waits.
    """
    ahead = max(1, slots // _AHEAD_SHARE)
    room = slots + ahead - count_under_way(connection, account)
    if priority is None:
        return room
    return max(room, min(ahead, _MOST_AHEAD) - _count_ready(connection, account, priority))


def _count_ready(connection: Connection, account: str, priority: int) -> int:
    query = select(func.count()).where(
        Batch.account == account,
        Batch.status.in_(UNSETTLED),
        Batch.priority >= priority,
        Batch.batch_id.is_(None),
        Batch.upload_begun_ts.is_(None),
        Batch.held_ts.is_(None),
        Batch.realtime.is_(False),
    )
    return connection.scalar(query) or 0
