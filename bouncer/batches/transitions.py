"""The transitions of a batch, carried out: every change of its state, each a compare-and-set by ``transition_table``.

The row is the truth: a run that dies leaves the batch in the state that was reached, and the next owner goes on from
there. What becomes of its contacts at the same time is in ``endings``, ``load`` and ``realtime``.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from bouncer.batches.ownership import has_no_owner, note, record_lost_answer
from bouncer.batches.state import WITHOUT_ID, BatchState, BatchWork, is_in, state_of
from bouncer.batches.transition_table import (
    ANSWERS,
    ASKED_ALL,
    BEGIN_ASKING,
    BEGIN_UPLOAD,
    CLOSE_EMPTY,
    DISSOLVE,
    FAIL,
    LOADED,
    LOSE,
    LOST_ANSWERS,
    LOST_UPLOAD,
    REFUSED_UPLOAD,
    RESEND_HELD,
    RETURN_UNSENT,
    RUNS,
    SPLIT,
    UPLOADED,
    VERIFIED,
    WITHDRAW,
    WITHDRAW_HELD,
    WITHDRAW_LEFT,
    By,
    Transition,
)
from bouncer.errors import OwnershipLost
from bouncer.plurals import numbered
from bouncer.safe_text import clean_message
from bouncer.storage.dialects import database_now
from bouncer.storage.tables import Batch, BatchStatus, Request
from bouncer.storage.transactions import writing

__all__ = [
    "Locked",
    "begin_asking",
    "begin_upload",
    "close_empty",
    "complete",
    "complete_asking",
    "dissolve",
    "fail",
    "lock",
    "lose",
    "make",
    "may_be_withdrawn",
    "record_answers",
    "record_lost_answers",
    "record_lost_upload",
    "record_progress",
    "record_refused_upload",
    "record_running",
    "record_upload",
    "record_verified",
    "resend_held",
    "return_unsent",
    "split",
    "withdraw",
]


def make(connection: Connection, **columns: int | str | bool) -> int:
    """Makes the row of a batch whose contacts are about to be assigned to it, and returns its id."""
    made = connection.execute(insert(Batch).values(columns))
    key = made.inserted_primary_key
    if key is None:
        raise TypeError("the database reported no id of the new batch")
    return int(key[0])


def begin_upload(connection: Connection, batch: BatchWork, addresses: int | None) -> None:
    """Writes down that an upload begins.

    Args:
        connection: In the transaction that admits it.
        batch: The batch, owned by the caller.
        addresses: How many are sent, where not as many as were claimed; from then on the batch's quantity.
    """
    _by_owner(
        connection,
        batch,
        BEGIN_UPLOAD,
        upload_begun_ts=func.current_timestamp(),
        quantity=addresses or Batch.quantity,
    )


@writing
def record_refused_upload(connection: Connection, batch: BatchWork) -> None:
    """Bouncer certainly does not have the batch: the upload may be repeated at no risk."""
    _by_owner(connection, batch, REFUSED_UPLOAD, upload_begun_ts=None)


@writing
def record_lost_upload(connection: Connection, batch: BatchWork, *, hold: bool) -> bool:
    """Counts an upload whose answer was lost, and holds the batch for a person or frees it to be uploaded again.

    Safe to run twice: an upload that was counted is begun no more, or held.

    Returns:
        Whether it is held: never where its request is cancelled, since a cancellation that has looked for held batches
        does not come again.

    Raises:
        OwnershipLost: Another run has the batch now, or an earlier one has uploaded it after all.
    """
    record_lost_answer(connection, batch)
    if lock(connection, batch).state not in WITHOUT_ID:
        raise OwnershipLost(f"batch {batch.id} is at Bouncer after all, uploaded by an earlier run; it goes on there")
    hold = hold and not _is_cancelled(connection, batch)
    _by_owner(
        connection,
        batch,
        LOST_UPLOAD,
        must_match=False,
        ambiguous_uploads=Batch.ambiguous_uploads + 1,
        upload_begun_ts=Batch.upload_begun_ts if hold else None,
        held_ts=func.current_timestamp() if hold else None,
    )
    return hold


@writing
def resend_held(connection: Connection, *where: ColumnElement[bool]) -> int:
    """Frees held batches to be sent again, and returns how many."""
    freed = connection.execute(
        update(Batch).where(RESEND_HELD.applies, *where).values(held_ts=None, upload_begun_ts=None)
    )
    return freed.rowcount


@writing
def record_upload(connection: Connection, batch: BatchWork, bouncer_id: str, duplicates: int) -> None:
    """Writes down Bouncer's id; from here on the batch is polled, never uploaded again.

    A run that lost its batch while it uploaded still records the id, unless its successor has one already: an id
    that is thrown away is a batch that is paid for and never loaded.

    Raises:
        OwnershipLost: Its successor has another id.
    """
    recorded = connection.execute(
        update(Batch)
        .where(Batch.id == batch.id, UPLOADED.applies)
        .values(
            bouncer_id=bouncer_id,
            duplicates=duplicates,
            status=BatchStatus.PROCESSING,
            uploaded_ts=func.current_timestamp(),
            progress_ts=func.current_timestamp(),
            running_ts=None,
            processed=0,
            held_ts=None,
        )
    )
    its_id = select(Batch.bouncer_id).where(Batch.id == batch.id)
    if recorded.rowcount == 0 and connection.scalar(its_id) != bouncer_id:
        raise OwnershipLost(f"batch {batch.id} was uploaded by another run; this upload may have been paid twice")


@writing
def record_running(connection: Connection, batch: BatchWork, waited: timedelta | None = None) -> bool:
    """Writes down that Bouncer has begun with the batch; the deadline counts from here. Safe to run twice.

    Args:
        connection: In a transaction that writes.
        batch: The batch, owned by the caller.
        waited: How long it was queued by Bouncer's clock, where Bouncer reports that; else it begins now.

    Returns:
        Whether it was queued until now.
    """
    return note(
        connection,
        batch,
        update(Batch).where(RUNS.applies, is_in(BatchState.QUEUED_AT_BOUNCER)),
        must_match=False,
        running_ts=_after_upload(connection, batch, waited),
        progress_ts=func.current_timestamp(),
    )


@writing
def record_progress(connection: Connection, batch: BatchWork, processed: int) -> None:
    """Writes down how many addresses are verified; only a rise counts as progress, and only what runs makes any."""
    note(
        connection,
        batch,
        update(Batch).where(RUNS.applies, Batch.processed < processed),
        must_match=False,
        processed=processed,
        running_ts=func.coalesce(Batch.running_ts, func.current_timestamp()),
        progress_ts=func.current_timestamp(),
    )


@writing
def record_verified(
    connection: Connection,
    batch: BatchWork,
    credits_charged: int | None,
    processed: int | None = None,
    waited: timedelta | None = None,
    took: timedelta | None = None,
) -> None:
    """Bouncer has completed the batch: it is in flight no more, and its results can be loaded.

    Args:
        connection: In a transaction that writes.
        batch: The batch, owned by the caller.
        credits_charged: What it cost, or None where Bouncer did not tell.
        processed: How many addresses are verified: fewer than all where it was finished early. None where Bouncer did
            not say.
        waited: How long it was queued by Bouncer's clock, where Bouncer reports that.
        took: How long it was at Bouncer by that clock; None counts until now. A batch that nobody has looked at for an
            hour was not an hour slower: by its pace others are sent and looked at.
    """
    # A small batch may be complete before anybody saw it run; without Bouncer's word nobody knows how long it waited.
    since = None if waited is None else _after_upload(connection, batch, waited)
    _by_owner(
        connection,
        batch,
        VERIFIED,
        status=BatchStatus.DOWNLOADING,
        verified_ts=func.coalesce(Batch.verified_ts, _after_upload(connection, batch, took)),
        running_ts=func.coalesce(Batch.running_ts, since),
        credits=credits_charged,
        processed=Batch.quantity if processed is None else processed,
    )


def complete(connection: Connection, batch: BatchWork, **figures: object) -> None:
    """Ends a batch whose verdicts are stored in the same transaction, with the figures of its load."""
    _by_owner(connection, batch, LOADED, **{**_ended(BatchState.COMPLETED, None), **figures})


def begin_asking(connection: Connection, batch: BatchWork, addresses: int) -> None:
    """Writes down how many addresses are about to be asked for in real time."""
    _by_owner(connection, batch, BEGIN_ASKING, unanswered=addresses, held_ts=None, progress_ts=func.current_timestamp())


def record_answers(
    connection: Connection, batch: BatchWork, *, answered: int, expected: int, lost: int, hold: bool
) -> None:
    """Writes down what came of the addresses that were asked for.

    Args:
        connection: In the transaction that stores the verdicts.
        batch: The batch, owned by the caller.
        answered: Addresses with a verdict.
        expected: What these should have cost, in credits.
        lost: Addresses whose answers were lost; each may have been paid for.
        hold: Whether these wait for a person.
    """
    hold = hold and not _is_cancelled(connection, batch)
    _by_owner(
        connection,
        batch,
        ANSWERS,
        unanswered=0,
        ambiguous_addresses=Batch.ambiguous_addresses + lost,
        held_ts=func.current_timestamp() if lost and hold else None,
        processed=Batch.processed + answered,
        expected_credits=func.coalesce(Batch.expected_credits, 0) + expected,
    )


@writing
def record_lost_answers(connection: Connection, batch: BatchWork, *, hold: bool) -> None:
    """Counts the addresses whose answers an earlier run was waiting for when it died; safe to run twice."""
    hold = hold and not _is_cancelled(connection, batch)
    # MySQL and MariaDB assign from left to right: what the others read must come last.
    connection.execute(
        update(Batch)
        .where(Batch.id == batch.id, Batch.owner == batch.owner, LOST_ANSWERS.applies, Batch.unanswered > 0)
        .ordered_values(
            (Batch.ambiguous_addresses, Batch.ambiguous_addresses + Batch.unanswered),
            (Batch.held_ts, func.current_timestamp() if hold else None),
            (Batch.unanswered, 0),
        )
    )


def complete_asking(connection: Connection, batch: BatchWork) -> None:
    """Ends a batch in real time of whose contacts none waits any more."""
    _by_owner(connection, batch, ASKED_ALL, **_ended(BatchState.COMPLETED, None))


def may_be_withdrawn() -> ColumnElement[bool]:
    """The condition for a batch that the cancellation of its request undoes."""
    return or_(WITHDRAW.applies, WITHDRAW_LEFT.applies, WITHDRAW_HELD.applies)


def withdraw(connection: Connection, batch_ids: Collection[int], message: str) -> None:
    """Undoes batches of a cancelled request, locked by the caller."""
    for transition in (WITHDRAW, WITHDRAW_LEFT, WITHDRAW_HELD):
        _end(connection, transition, message, Batch.id.in_(batch_ids))


def return_unsent(connection: Connection, batch_ids: Collection[int]) -> None:
    """Deletes batches that were never sent, locked by the caller."""
    _end(connection, RETURN_UNSENT, "", Batch.id.in_(batch_ids))


@writing
def close_empty(connection: Connection, batch_id: int) -> bool:
    """Closes a batch whose contacts are gone, unless somebody has taken it meanwhile; returns whether it did."""
    return _end(connection, CLOSE_EMPTY, "its contacts are gone; nothing was loaded", Batch.id == batch_id) == 1


def dissolve(connection: Connection, batch: BatchWork) -> None:
    """Undoes a batch that is not sent; where part of it may have been paid, its row stays and counts that."""
    _end_owned(connection, batch, DISSOLVE, "not uploaded; its contacts went back to the queue")


def lose(connection: Connection, batch: BatchWork, message: str, *, stuck: bool = False) -> None:
    """Ends a batch whose verdicts cannot be had; what Bouncer may have been paid for it stays on record."""
    # Of one that stands still the credits of the rest come back. Of any other, nobody knows how far it came.
    at_most = func.coalesce(Batch.credits, Batch.processed if stuck else Batch.quantity)
    _end_owned(connection, batch, LOSE, message, lost_addresses=at_most)


def fail(connection: Connection, batch: BatchWork, message: str) -> None:
    """Ends a batch that Bouncer will never take."""
    _end_owned(connection, batch, FAIL, message)


def split(connection: Connection, batch: BatchWork, parts: Sequence[int]) -> None:
    """Ends a batch in whose place its parts are sent."""
    message = f"refused by Bouncer as a whole; parted into {numbered(parts, 'batch', 'batches')}"
    _end_owned(connection, batch, SPLIT, message)


@dataclass(frozen=True)
class Locked:
    """A batch's row, locked for its owner, as it stands now: others may have written to it since the owner took it."""

    state: BatchState
    credits: int | None
    processed: int
    erased: int
    unanswered: int


def lock(connection: Connection, batch: BatchWork) -> Locked:
    """Locks the row of a batch, if it is still the owner's.

    Raises:
        OwnershipLost: Another run has the batch now.
    """
    row = connection.execute(_locked(), {"batch": batch.id}).one_or_none()
    if row is None or row.owner != batch.owner:
        raise OwnershipLost(f"batch {batch.id} was taken over by another run; nothing is lost")
    return Locked(BatchState(row.state), row.credits, row.processed, row.erased, row.unanswered)


@cache
def _locked() -> Select[str | None, str, int | None, int, int, int]:
    figures = (Batch.credits, Batch.processed, Batch.erased, Batch.unanswered)
    return select(Batch.owner, state_of(), *figures).where(Batch.id == bindparam("batch")).with_for_update()


def _is_cancelled(connection: Connection, batch: BatchWork) -> bool:
    # Under the lock of the batch's row: a cancellation that is marked meanwhile finds the batch held.
    lock(connection, batch)
    marked = (Request.request_id == batch.request_id, Request.bouncer_cancelled_ts.is_not(None))
    return connection.scalar(select(Request.request_id).where(*marked)) is not None


def _by_owner(
    connection: Connection, batch: BatchWork, transition: Transition, *, must_match: bool = True, **values: Any
) -> None:
    note(connection, batch, update(Batch).where(transition.applies), must_match=must_match, **values)


def _end_owned(
    connection: Connection, batch: BatchWork, transition: Transition, message: str, **values: object
) -> None:
    mine = (Batch.id == batch.id, Batch.owner == batch.owner)
    if not _end(connection, transition, message, *mine, **values):
        raise OwnershipLost(f"batch {batch.id} was taken over by another run; nothing is lost")


def _end(
    connection: Connection, transition: Transition, message: str, *where: ColumnElement[bool], **values: object
) -> int:
    nobody_works = [has_no_owner()] if transition.by is By.SUCCESSOR else []
    ended = 0
    if deleted := [state for state, targets in transition.moves.items() if targets == (None,)]:
        ended += connection.execute(delete(Batch).where(is_in(*deleted), *nobody_works, *where)).rowcount
    if failed := [state for state, targets in transition.moves.items() if targets == (BatchState.FAILED,)]:
        changes = {
            # What was asked for in real time and never answered may have been paid for. MySQL and MariaDB assign from
            # left to right: what the others read must come last.
            "ambiguous_addresses": Batch.ambiguous_addresses + Batch.unanswered,
            "unanswered": 0,
            **values,
            **_ended(BatchState.FAILED, message),
        }
        ended += connection.execute(
            update(Batch)
            .where(is_in(*failed), *nobody_works, *where)
            .ordered_values(*((getattr(Batch, name), value) for name, value in changes.items()))
        ).rowcount
    return ended


def _ended(state: BatchState, message: str | None) -> dict[str, Any]:
    return {
        "status": state.value,
        "error_message": None if message is None else clean_message(message),
        "completed_ts": func.current_timestamp(),
        # What was charged for it and brought no verdict is to show in the ledger.
        "expected_credits": func.coalesce(Batch.expected_credits, 0),
        "owner": None,
        "heartbeat_ts": None,
        "held_ts": None,
        "slot_lease": None,
    }


_UPLOADED = select(Batch.uploaded_ts).where(Batch.id == bindparam("batch"))


def _after_upload(connection: Connection, batch: BatchWork, span: timedelta | None) -> datetime:
    # Bouncer's clock is not the database's: what it reports is a span, counted from the answer to the upload.
    now = database_now(connection)
    uploaded = connection.scalar(_UPLOADED, {"batch": batch.id})
    return now if span is None or uploaded is None else min(now, uploaded + max(span, timedelta()))
