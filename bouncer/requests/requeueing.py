"""Putting failed contacts back into the queue, and deciding on held batches: what a person does after a look.

Contacts go back some thousand at a time, each chunk a transaction, so that a million of them lock nothing for long.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, Connection, Engine, SQLColumnExpression, case, func, or_, select, update

from bouncer.batches.admission import is_cancelled
from bouncer.batches.transition_table import RESEND_HELD
from bouncer.batches.transitions import resend_held
from bouncer.errors import InputRefused
from bouncer.requests.cancelling import unmark
from bouncer.requests.kept_counts import BY_REQUEST, has_contact
from bouncer.requests.progress import note_open
from bouncer.storage.tables import Batch, DeadLetter, QueuedContact, QueueStatus, Request
from bouncer.storage.transactions import reading, writing

__all__ = ["Requeued", "requeue"]

_CHUNK_ROWS = 5_000


@dataclass(frozen=True)
class Requeued:
    """Result of a requeue, or of its dry run.

    Attributes:
        contacts: Failed contacts that wait again; their attempts stay counted.
        dead_letters: Dead letters that were marked reviewed.
        held: Held batches that are sent again, which may be paid twice.
        dry_run: Whether nothing was changed.
    """

    contacts: int
    dead_letters: int
    held: int
    dry_run: bool


@dataclass(frozen=True)
class _Scope:
    request_id: int | None
    dead_letter: int | None
    batch_id: int | None
    # The newest letter there was at the beginning: contacts that fail meanwhile are passed over, and so are theirs.
    last_letter: int

    def failed(self) -> tuple[ColumnElement[bool], ...]:
        of_batch = [] if self.batch_id is None else [QueuedContact.batch_id == self.batch_id]
        worth_it = QueuedContact.attempts > 0
        if self.request_id is not None:
            worth_it = or_(worth_it, QueuedContact.cancelled)
        return QueuedContact.status == QueueStatus.FAILED, worth_it, *of_batch

    def letters(self) -> tuple[ColumnElement[bool], ...]:
        if self.dead_letter is not None:
            return DeadLetter.reviewed.is_not(True), DeadLetter.id == self.dead_letter
        until_now = DeadLetter.id <= self.last_letter
        return DeadLetter.reviewed.is_not(True), until_now, self.of_requests(DeadLetter.request_id)

    def holding(self) -> tuple[ColumnElement[bool], ...]:
        of_letter = [] if self.batch_id is None else [Batch.id == self.batch_id]
        theirs = self.of_requests(Batch.request_id)
        return RESEND_HELD.applies, theirs, *of_letter

    def of_requests(self, column: SQLColumnExpression[int]) -> ColumnElement[bool]:
        if self.request_id is not None:
            return column == self.request_id
        # What a person has cancelled stays cancelled, unless it is asked for by its name.
        return column.not_in(select(Request.request_id).where(Request.bouncer_cancelled_ts.is_not(None)))


def requeue(  # each is an option of the command
    engine: Engine,
    *,
    request_id: int | None = None,
    dead_letter: int | None = None,
    held: bool = False,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Requeued:
    """Puts failed contacts back into the queue and marks their dead letters reviewed; settled ones are left alone.

    Contacts whose address cannot be mailed to at all would only fail again, so they stay. Those of cancelled requests
    stay too, unless the request is named: that takes its cancellation back. Safe to run twice; killed in the middle,
    it is completed by running it again.

    Args:
        engine: The contacts database.
        request_id: Only this request, or None for all.
        dead_letter: Only the contacts of this dead letter's batch.
        held: Also send the held batches again.
        dry_run: Only count.
        progress: Called after each chunk with the contacts so far.

    Returns:
        What was done, or would be.

    Raises:
        InputRefused: There is no such request or dead letter; or the letter is of another request, or a cancelled one.
        DatabaseUnavailable: The database was away for too long; the same again does the rest.
    """
    scope = _scope(engine, request_id, dead_letter)
    would = _count(engine, scope, held=held)
    if dry_run:
        return would
    if request_id is not None:
        unmark(engine, request_id)
    contacts = 0
    for request in _requests(engine, scope):
        after: int | None = -1
        while after is not None:
            some, after = _requeue_some(engine, scope, request, after)
            contacts += some
            if progress is not None:
                progress(contacts)
    # The letters last: one that is reviewed has its contacts in the queue.
    letters = _mark_reviewed(engine, scope)
    if held:
        resend_held(engine, *scope.holding())
    return replace(would, contacts=contacts, dead_letters=letters, dry_run=False)


@reading
def _scope(connection: Connection, request_id: int | None, dead_letter: int | None) -> _Scope:
    known = select(Request.request_id).where(Request.request_id == request_id)
    if request_id is not None and connection.scalar(known) is None:
        raise InputRefused(f"there is no request {request_id}; bouncer-flows status lists them")
    if dead_letter is None:
        return _Scope(request_id, None, None, connection.scalar(select(func.max(DeadLetter.id))) or 0)
    letter = connection.execute(
        select(DeadLetter.batch_id, DeadLetter.request_id).where(DeadLetter.id == dead_letter)
    ).one_or_none()
    if letter is None:
        raise InputRefused(f"there is no dead letter {dead_letter}; Bouncer_Dead_Letter_Queue lists them")
    if request_id not in {None, letter.request_id}:
        raise InputRefused(f"dead letter {dead_letter} is of request {letter.request_id}; name that one, or none")
    if request_id is None and is_cancelled(connection, letter.request_id):
        raise InputRefused(
            f"dead letter {dead_letter} is of request {letter.request_id}, which is cancelled; to take that back too,"
            f" add --request {letter.request_id}"
        )
    return _Scope(request_id, dead_letter, letter.batch_id, dead_letter)


@reading
def _count(connection: Connection, scope: _Scope, *, held: bool) -> Requeued:
    return Requeued(
        contacts=_count_failed(connection, scope),
        dead_letters=connection.scalar(select(func.count()).select_from(DeadLetter).where(*scope.letters())) or 0,
        held=(connection.scalar(select(func.count()).select_from(Batch).where(*scope.holding())) or 0) if held else 0,
        dry_run=True,
    )


def _count_failed(connection: Connection, scope: _Scope) -> int:
    if scope.batch_id is not None:
        failed = [*scope.failed(), scope.of_requests(QueuedContact.request_id)]
        return connection.scalar(select(func.count()).select_from(QueuedContact).where(*failed)) or 0
    # Request by request, or the servers would read the whole queue, or all that ever failed in cancelled requests too.
    of_one = (
        select(func.count())
        .select_from(QueuedContact)
        .with_hint(QueuedContact, BY_REQUEST)
        .where(QueuedContact.request_id == Request.request_id, *scope.failed())
        .correlate(Request)
        .scalar_subquery()
    )
    return int(connection.scalar(select(func.sum(of_one)).where(scope.of_requests(Request.request_id.expression))) or 0)


def _requests(engine: Engine, scope: _Scope) -> Iterator[int]:
    # One after the other: within one request, an index has the failed contacts in the order of their ids.
    last = -1
    while (found := _next_request(engine, scope, last)) is not None:
        yield found
        last = found


@reading
def _next_request(connection: Connection, scope: _Scope, after: int) -> int | None:
    if scope.request_id is not None:
        return scope.request_id if scope.request_id > after else None
    if scope.batch_id is not None:
        # Contacts of several requests may have been in the batch.
        return connection.scalar(
            select(func.min(QueuedContact.request_id)).where(
                QueuedContact.batch_id == scope.batch_id,
                QueuedContact.request_id > after,
                scope.of_requests(QueuedContact.request_id),
            )
        )
    return connection.scalar(
        select(Request.request_id)
        .where(
            Request.request_id > after,
            Request.bouncer_cancelled_ts.is_(None),
            has_contact(QueuedContact.status == QueueStatus.FAILED),
        )
        .order_by(Request.request_id)
        .limit(1)
    )


@writing
def _requeue_some(connection: Connection, scope: _Scope, request_id: int, after: int) -> tuple[int, int | None]:
    found = connection.execute(
        select(QueuedContact.queue_id, QueuedContact.cancelled)
        .with_hint(QueuedContact, BY_REQUEST if scope.batch_id is None else "")
        .where(QueuedContact.request_id == request_id, QueuedContact.queue_id > after, *scope.failed())
        .order_by(QueuedContact.queue_id)
        .limit(_CHUNK_ROWS)
        .with_for_update()
    ).all()
    if not found:
        return 0, None
    changed = connection.execute(
        update(QueuedContact)
        .where(QueuedContact.queue_id.in_([row.queue_id for row in found]))
        .values(
            status=QueueStatus.QUEUED,
            batch_id=None,
            assigned_ts=None,
            completed_ts=None,
            error_message=None,
            cancelled=False,
        )
    )
    cancelled = sum(bool(was_cancelled) for _, was_cancelled in found)
    if cancelled:
        left = func.coalesce(Request.bouncer_cancelled, 0) - cancelled
        connection.execute(
            update(Request)
            .where(Request.request_id == request_id)
            .values(bouncer_cancelled=case((left > 0, left), else_=0))
        )
    note_open(connection, request_id)
    return changed.rowcount, found[-1].queue_id


@writing
def _mark_reviewed(connection: Connection, scope: _Scope) -> int:
    return connection.execute(update(DeadLetter).where(*scope.letters()).values(reviewed=True)).rowcount
