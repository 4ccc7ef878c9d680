"""Second chances whose time has come: their contacts are requeued, behind all others."""

from datetime import timedelta

from sqlalchemy import Connection, func, select, update

from bouncer.credits.caps import room_to_queue
from bouncer.storage.dialects import database_now
from bouncer.storage.tables import Priority, QueuedContact, QueueStatus, Request, SecondChance
from bouncer.storage.transactions import writing

__all__ = ["take_second_chances"]

_NOT_YET_SECONDS = 600


@writing
def take_second_chances(connection: Connection, most: int) -> tuple[int, int]:
    """Queues contacts again whose time has come, at low priority.

    Those whose request is not complete yet wait until it is, and those whose request has reached its cap on credits
    until there is room; those of a cancelled one, and those that are not settled any more, are left alone. Safe to run
    twice: each chance is taken once.

    Args:
        connection: In a transaction that writes.
        most: The most contacts to look at.

    Returns:
        How many it looked at, and how many are requeued.
    """
    now = database_now(connection)
    due = connection.scalars(
        select(SecondChance.queue_id)
        .where(SecondChance.try_again_ts <= now)
        .order_by(SecondChance.try_again_ts)
        .limit(most)
        .with_for_update(skip_locked=True)
    ).all()
    if not due:
        return 0, 0
    of_contacts = connection.execute(
        select(
            QueuedContact.queue_id,
            QueuedContact.request_id,
            Request.bouncer_counted_ts.is_not(None) & Request.bouncer_completed_ts.is_(None),
            (QueuedContact.status == QueueStatus.COMPLETED) & Request.bouncer_cancelled_ts.is_(None),
        )
        .join(Request, Request.request_id == QueuedContact.request_id)
        .where(QueuedContact.queue_id.in_(due))
    ).all()
    early = [queue_id for queue_id, _, is_open, _ in of_contacts if is_open]
    ripe: list[int] = []
    for request_id in {row.request_id for row in of_contacts}:
        its = [id_ for id_, of, is_open, is_settled in of_contacts if of == request_id and is_settled and not is_open]
        room = room_to_queue(connection, request_id) if its else None
        # Without room it would wait in the queue for ever, and each ingest would end capped.
        may_go = len(its) if room is None else max(0, room)
        ripe += its[:may_go]
        early += its[may_go:]
    later = now + timedelta(seconds=_NOT_YET_SECONDS)
    connection.execute(update(SecondChance).where(SecondChance.queue_id.in_(early)).values(try_again_ts=later))
    connection.execute(
        update(SecondChance)
        .where(SecondChance.queue_id.in_(due), SecondChance.queue_id.not_in(early))
        .values(try_again_ts=None, chances=SecondChance.chances + 1)
    )
    of_ripe = {row.request_id for row in of_contacts if row.queue_id in set(ripe)}
    connection.execute(update(Request).where(Request.request_id.in_(of_ripe)).values(bouncer_counts=None))
    # The batch of the verdict that there is stays, so that an export shows that verdict until there is a better one.
    connection.execute(
        update(QueuedContact)
        .where(QueuedContact.queue_id.in_(ripe), QueuedContact.status == QueueStatus.COMPLETED)
        # MySQL and MariaDB assign from left to right: when its verdict came must be read before it is taken away. With
        # that moment, a verdict that the address got elsewhere since then settles the contact at no cost.
        .ordered_values(
            (QueuedContact.verdict_after_ts, func.coalesce(QueuedContact.completed_ts, now)),
            (QueuedContact.status, QueueStatus.QUEUED),
            (QueuedContact.priority, int(Priority.LOW)),
            (QueuedContact.reused, False),
            (QueuedContact.attempts, 0),
            (QueuedContact.assigned_ts, None),
            (QueuedContact.completed_ts, None),
        )
    )
    return len(due), len(ripe)
