"""Second chances: contacts without a clear verdict are retried after a while, by themselves, a few times.

That a mail server was busy or grey-listed the question passes. Their request is complete all the same; nobody waits.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, DateTime, Integer, exists, func, select, true, update
from sqlalchemy.types import TypeEngine

from bouncer.credits.caps import room_to_queue
from bouncer.storage.bulk import stage
from bouncer.storage.dialects import database_now, insert_ignoring
from bouncer.storage.tables import (
    Batch,
    Contact,
    Layer,
    Priority,
    QueuedContact,
    QueueStatus,
    Request,
    Result,
    SecondChance,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Chances", "count_second_chances", "give_second_chances", "keep_verdicts", "take_second_chances"]

_STAGED: dict[str, TypeEngine[Any]] = {"queue_id": Integer(), "try_again_ts": DateTime()}
_NOT_YET_SECONDS = 600


@dataclass(frozen=True)
class Chances:
    """Number and times of the second chances of contacts without a clear verdict.

    Attributes:
        most: How often, at most; 0 for never.
        hours: After how long, where Bouncer does not tell.
    """

    most: int = 2
    hours: float = 24.0


def give_second_chances(
    connection: Connection, batch_id: int, layer: Layer, settled: "pd.DataFrame", chances: Chances
) -> int:
    """Notes which of the contacts that got a verdict should be retried, and when.

    These are unknown ones, which cost nothing, and those for which Bouncer names a time, as for grey-listed ones; but
    not those that have a better verdict of the deep pass.

    Args:
        connection: In a transaction that writes.
        batch_id: The batch that the verdicts came with; they are written already.
        layer: Which pass it is of.
        settled: Columns ``queue_id``, ``bouncer_status`` and ``retry_after_ts`` (with time zone, or NULL).
        chances: How often and when.

    Returns:
        How many contacts without a clear verdict there were.
    """
    import pandas as pd

    unclear = settled[(settled["bouncer_status"] == "unknown") | settled["retry_after_ts"].notna()]
    if unclear.empty or chances.most < 1:
        return 0
    told = pd.to_datetime(unclear["retry_after_ts"], utc=True).dt.tz_localize(None)
    unless_told = database_now(connection) + timedelta(hours=chances.hours)
    frame = pd.DataFrame({"queue_id": unclear["queue_id"], "try_again_ts": told.fillna(unless_told)})
    staged = stage(connection, "second_chances", _STAGED, frame)
    counts: ColumnElement[bool] = true()
    if layer is Layer.BASIC:
        counts = (
            exists()
            .where(
                QueuedContact.queue_id == staged.c.queue_id,
                Contact.global_id == QueuedContact.global_id,
                Contact.bouncer_batch_id == batch_id,
            )
            .correlate(staged)
        )
    connection.execute(
        update(SecondChance)
        .where(SecondChance.queue_id == staged.c.queue_id, SecondChance.chances < chances.most, counts)
        .values(try_again_ts=staged.c.try_again_ts)
    )
    connection.execute(
        insert_ignoring(connection, SecondChance).from_select(
            ["queue_id", "try_again_ts"], select(staged.c.queue_id, staged.c.try_again_ts).where(counts)
        )
    )
    return len(unclear)


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


def keep_verdicts(connection: Connection, *of_contacts: ColumnElement[bool]) -> int:
    """Completes contacts again whose second chance has failed: they keep the verdict that they have.

    Args:
        connection: In a transaction that writes, in which they have failed.
        of_contacts: The conditions on the contacts in the queue.

    Returns:
        How many contacts it was.
    """
    its_last_batch = (
        select(func.max(Result.batch_id))
        .join(Batch, Batch.id == Result.batch_id)
        .where(Result.global_id == QueuedContact.global_id, Batch.layer == QueuedContact.layer)
        .correlate(QueuedContact)
        .scalar_subquery()
    )
    kept = connection.execute(
        update(QueuedContact)
        .where(
            *of_contacts,
            QueuedContact.status == QueueStatus.FAILED,
            QueuedContact.verdict_after_ts.is_not(None),
            exists().where(SecondChance.queue_id == QueuedContact.queue_id),
        )
        .values(status=QueueStatus.COMPLETED, batch_id=its_last_batch, error_message=None)
    )
    return kept.rowcount


def count_second_chances(connection: Connection) -> int:
    """Counts the contacts that wait for the time of their second chance."""
    query = select(func.count()).select_from(SecondChance).where(SecondChance.try_again_ts.is_not(None))
    return connection.scalar(query) or 0
