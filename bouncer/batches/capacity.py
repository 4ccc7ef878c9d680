"""Number of batches that may be made for workers: for the slots and a little ahead, and always a few urgent ones."""

from collections.abc import Mapping

from sqlalchemy import ColumnElement, Connection, and_, case, func, select

from bouncer.batches.state import AWAITS_UPLOAD, UNSETTLED, BatchState, is_in
from bouncer.storage.tables import Batch

__all__ = ["batches_ahead", "room_for", "rooms_for"]

_AHEAD_SHARE = 3
_MOST_AHEAD = 5


def batches_ahead(slots: int) -> int:
    """Number of batches made beyond the slots, so that a freed slot finds the next one ready.

    More would take what is queued later, and may be more urgent, longer to get its turn.

    Args:
        slots: The most batches in flight.
    """
    return max(1, slots // _AHEAD_SHARE)


def room_for(connection: Connection, account: str, slots: int, priority: int | None) -> int:
    """Counts how many more batches of an account may be made for contacts of a priority.

    As many are under way, wherever they are, as there are slots and a third more, so that a freed slot finds the next
    batch ready. Contacts also have room for up to five batches of their own that are ready, counted among the equally
    and the more urgent ones: they overtake whatever else is ready by their work queue. So a queue without end becomes
    no more batches than that, and nobody who is more urgent waits for a batch to end.

    Args:
        connection: In a transaction; only in one that holds the lock of claims is the answer more than a hint.
        account: The account that the batches are sent with.
        slots: The most batches of it in flight.
        priority: How urgent the contacts are, or None where none waits.
    """
    return rooms_for(connection, {account: slots}, priority)[account]


def rooms_for(connection: Connection, slots: Mapping[str, int], priority: int | None) -> dict[str, int]:
    """Counts for each of some accounts how many more batches may be made; like ``room_for``, in one statement.

    Args:
        connection: In a transaction.
        slots: The most batches in flight, by account.
        priority: How urgent the contacts are, or None where none waits.
    """
    query = (
        select(Batch.account, func.count(), func.sum(case((_is_ready(priority), 1), else_=0)))
        # Held ones wait for a person.
        .where(Batch.account.in_(slots), is_in(*(UNSETTLED - {BatchState.HELD})))
        .group_by(Batch.account)
    )
    counts = {account: (int(under_way), int(ready)) for account, under_way, ready in connection.execute(query)}
    return {account: _room(most, priority, *counts.get(account, (0, 0))) for account, most in slots.items()}


def _is_ready(priority: int | None) -> ColumnElement[bool]:
    return and_(Batch.priority >= (priority or 0), is_in(*AWAITS_UPLOAD), Batch.realtime.is_(False))


def _room(slots: int, priority: int | None, under_way: int, ready: int) -> int:
    ahead = batches_ahead(slots)
    room = slots + ahead - under_way
    return room if priority is None else max(room, min(ahead, _MOST_AHEAD) - ready)
