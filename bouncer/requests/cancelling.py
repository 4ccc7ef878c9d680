"""Cancelling a request: nothing of it is sent any more, what waits leaves the queue, what is in flight is finished.

That a request is cancelled is one mark on its row, set under the lock that claims and uploads hold: whatever begins
after the mark sees it. All else follows from the mark, by whoever comes first, so a crash in the middle costs nothing.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, select, update

from bouncer.batches import transitions
from bouncer.batches.admission import is_cancelled
from bouncer.batches.state import POLLED, UNSETTLED, BatchState, is_in
from bouncer.batches.transitions import may_be_withdrawn
from bouncer.requests.counting import require_request
from bouncer.requests.progress import note_open
from bouncer.safe_text import clean_message, plain
from bouncer.storage.locks import Only, alone
from bouncer.storage.tables import Account, Batch, QueuedContact, QueueStatus, Request
from bouncer.storage.transactions import reading, writing
from bouncer.verdicts.second_chances import keep_verdicts

__all__ = [
    "InFlight",
    "Prospect",
    "mark",
    "note_finish_requested",
    "prospect",
    "to_finish",
    "under_way",
    "unmark",
    "withdraw_unsent",
    "withdraw_waiting",
]

_CHUNK_ROWS = 5_000


@dataclass(frozen=True)
class Prospect:
    """Effect that cancelling a request would have.

    Attributes:
        waiting: Contacts that would leave the queue.
        unsent: Contacts in batches that were not sent yet; they would leave it too.
        batches: Batches at Bouncer, which would be finished there.
        unverified: Addresses in them that are not verified yet; their credits would come back.
    """

    waiting: int
    unsent: int
    batches: int
    unverified: int


@dataclass(frozen=True)
class InFlight:
    """A batch at Bouncer that was not asked to finish yet."""

    id: int
    account: str
    bouncer_id: str


@reading
def prospect(connection: Connection, request_id: int) -> Prospect:
    """Counts what cancelling a request would do, and changes nothing.

    Raises:
        InputRefused: There is no such request.
    """
    require_request(connection, request_id)
    # Contacts, and only its own: other requests may have contacts in its batches, and it in theirs.
    unsent = (
        select(func.count())
        .select_from(QueuedContact)
        .join(Batch, Batch.id == QueuedContact.batch_id)
        .where(
            QueuedContact.request_id == request_id,
            QueuedContact.status == QueueStatus.ASSIGNED,
            Batch.request_id == request_id,
            may_be_withdrawn(),
        )
    )
    at_bouncer = select(func.count(), func.coalesce(func.sum(Batch.quantity - Batch.processed), 0))
    batches, unverified = connection.execute(at_bouncer.where(*_to_finish(request_id))).one()
    return Prospect(
        waiting=connection.scalar(select(func.count()).select_from(QueuedContact).where(*_waits(request_id))) or 0,
        unsent=connection.scalar(unsent) or 0,
        batches=batches,
        unverified=int(unverified),
    )


@writing
def mark(connection: Connection, request_id: int, *, by: str, reason: str) -> bool:
    """Marks a request as cancelled; from the commit on, no claim takes of it and no upload of it begins.

    Args:
        connection: In a transaction that writes.
        request_id: The request.
        by: Who wants it.
        reason: Why, for others to read.

    Returns:
        Whether it was not cancelled before; the first one's name and reason stay.

    Raises:
        InputRefused: There is no such request.
    """
    # Claims and uploads hold one of these locks from their look at the mark until their commit.
    alone(connection, Only.CLAIM)
    connection.execute(select(Account.account).order_by(Account.account).with_for_update()).all()
    require_request(connection, request_id)
    marked = connection.execute(
        update(Request)
        .where(Request.request_id == request_id, Request.bouncer_cancelled_ts.is_(None))
        .values(
            bouncer_cancelled_ts=func.current_timestamp(),
            bouncer_cancelled_by=plain(by)[:100],
            bouncer_cancelled_reason=clean_message(reason)[:255],
        )
    )
    note_open(connection, request_id)
    return marked.rowcount == 1


@writing
def unmark(connection: Connection, request_id: int) -> bool:
    """Takes a cancellation back; the contacts that it took out of the queue stay out until they are requeued.

    Returns:
        Whether it was cancelled.
    """
    taken_back = connection.execute(
        update(Request)
        .where(Request.request_id == request_id, Request.bouncer_cancelled_ts.is_not(None))
        .values(bouncer_cancelled_ts=None, bouncer_cancelled_by=None, bouncer_cancelled_reason=None)
    )
    return taken_back.rowcount == 1


@writing
def withdraw_waiting(connection: Connection, request_id: int) -> int:
    """Takes the next waiting contacts of a cancelled request out of the queue, a chunk at most.

    They fail with who cancelled it and why. Safe to run twice, and beside claims: a request that is not cancelled any
    more keeps its contacts.

    Returns:
        How many it was; 0 where none waits any more.
    """
    cancelled = connection.execute(
        select(Request.bouncer_cancelled_by, Request.bouncer_cancelled_reason)
        .where(Request.request_id == request_id, Request.bouncer_cancelled_ts.is_not(None))
        .with_for_update()
    ).one_or_none()
    if cancelled is None:
        return 0
    waiting = connection.scalars(
        select(QueuedContact.queue_id)
        .where(*_waits(request_id))
        .order_by(QueuedContact.queue_id)
        .limit(_CHUNK_ROWS)
        .with_for_update(skip_locked=True)
    ).all()
    if not waiting:
        return 0
    connection.execute(
        update(QueuedContact)
        .where(QueuedContact.queue_id.in_(waiting))
        .values(
            status=QueueStatus.FAILED,
            cancelled=True,
            error_message=f"cancelled by {cancelled.bouncer_cancelled_by}: {cancelled.bouncer_cancelled_reason}",
            completed_ts=func.current_timestamp(),
        )
    )
    kept = keep_verdicts(connection, QueuedContact.queue_id.in_(waiting))
    connection.execute(
        update(Request)
        .where(Request.request_id == request_id)
        .values(bouncer_cancelled=func.coalesce(Request.bouncer_cancelled, 0) + len(waiting) - kept)
    )
    return len(waiting)


@writing
def withdraw_unsent(connection: Connection, request_id: int) -> int:
    """Undoes the batches of a cancelled request that Bouncer never had, and those that are held.

    Their contacts are requeued: those of the request are withdrawn next, those of other requests that joined are
    claimed anew. A run that works on such a batch finds it gone before it could send anything. A batch with a lost
    upload keeps its row, which counts the possible double payment.

    Returns:
        How many batches it was.
    """
    if not is_cancelled(connection, request_id):
        return 0
    query = select(Batch.id).where(Batch.request_id == request_id, may_be_withdrawn())
    found = connection.scalars(query.with_for_update()).all()
    if not found:
        return 0
    connection.execute(
        update(QueuedContact)
        .where(QueuedContact.batch_id.in_(found), QueuedContact.status == QueueStatus.ASSIGNED)
        .values(status=QueueStatus.QUEUED, batch_id=None, assigned_ts=None)
    )
    transitions.withdraw(
        connection, found, "its request was cancelled when an upload of it was lost, or a part of it verified"
    )
    return len(found)


@reading
def to_finish(connection: Connection, request_id: int) -> list[InFlight]:
    """Finds the batches of a request that Bouncer runs and was not asked to finish yet.

    One that is queued there cannot be finished; the run that polls it does that once it runs.
    """
    query = (
        select(Batch.id, Batch.account, Batch.bouncer_id)
        .where(*_to_finish(request_id), is_in(BatchState.RUNNING_AT_BOUNCER))
        .order_by(Batch.id)
    )
    return [InFlight(id_, account, str(bouncer_id)) for id_, account, bouncer_id in connection.execute(query)]


@writing
def note_finish_requested(connection: Connection, batch_id: int) -> None:
    """Writes down that Bouncer was asked to finish a batch, whoever works on it."""
    connection.execute(
        update(Batch)
        .where(Batch.id == batch_id, Batch.finish_requested_ts.is_(None))
        .values(finish_requested_ts=func.current_timestamp(), progress_ts=func.current_timestamp())
    )


@reading
def under_way(connection: Connection, request_id: int) -> int:
    """Counts the batches of a request that are not settled."""
    query = select(func.count()).where(Batch.request_id == request_id, is_in(*UNSETTLED))
    return connection.scalar(query) or 0


def _waits(request_id: int) -> tuple[ColumnElement[bool], ...]:
    return QueuedContact.request_id == request_id, QueuedContact.status == QueueStatus.QUEUED


def _to_finish(request_id: int) -> tuple[ColumnElement[bool], ...]:
    return Batch.request_id == request_id, is_in(*POLLED), Batch.finish_requested_ts.is_(None)
