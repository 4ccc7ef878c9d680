"""Transitions of a batch; each is a compare-and-set on the batch's owner."""

from sqlalchemy import Connection, func, or_, select, update
from sqlalchemy.sql.dml import Update

from bouncer.batches.state import UNSETTLED, BatchWork
from bouncer.errors import OwnershipLost
from bouncer.storage.dialects import age_seconds
from bouncer.storage.tables import Batch, BatchStatus

__all__ = [
    "record_ambiguous_upload",
    "record_finish_requested",
    "record_lease",
    "record_lost_answer",
    "record_progress",
    "record_refused_upload",
    "record_unreadable",
    "record_upload",
    "record_verified",
    "step_of",
]


def record_lease(connection: Connection, batch: BatchWork, lease: str | None) -> None:
    """Writes down which slot lease the owner holds, so that its successor can give it back."""
    step_of(connection, batch, update(Batch), slot_lease=lease)


def record_refused_upload(connection: Connection, batch: BatchWork) -> None:
    """Bouncer certainly does not have the batch: the upload may be repeated at no risk."""
    step_of(connection, batch, update(Batch), upload_begun_ts=None)


def record_lost_answer(connection: Connection, batch: BatchWork) -> None:
    """Writes down when an answer was lost: from there the time runs for which the upload counts as in flight.

    Safe to run twice: the first time counts, or waiting for a callback would begin anew with every restart.
    """
    step_of(
        connection,
        batch,
        update(Batch).where(or_(Batch.progress_ts.is_(None), Batch.progress_ts < Batch.upload_begun_ts)),
        must_match=False,
        progress_ts=func.current_timestamp(),
    )


def record_ambiguous_upload(connection: Connection, batch: BatchWork, *, hold: bool) -> None:
    """Counts an upload whose answer was lost, and holds the batch for a person or frees it to be uploaded again.

    Safe to run twice: an upload that was counted is begun no more, or held.
    """
    record_lost_answer(connection, batch)
    step_of(connection, batch, update(Batch).where(Batch.batch_id.is_(None)))
    held = func.current_timestamp() if hold else None
    begun = Batch.upload_begun_ts if hold else None
    step_of(
        connection,
        batch,
        update(Batch).where(Batch.upload_begun_ts.is_not(None), Batch.held_ts.is_(None)),
        must_match=False,
        ambiguous_uploads=Batch.ambiguous_uploads + 1,
        upload_begun_ts=begun,
        held_ts=held,
    )


def record_upload(connection: Connection, batch: BatchWork, batch_id: str, duplicates: int) -> None:
    """Writes down Bouncer's id; from here on the batch is polled, never uploaded again.

    A run that lost its batch while it uploaded still records the id, unless its successor has one already: an id
    that is thrown away is a batch that is paid for and never loaded.
    """
    recorded = connection.execute(
        update(Batch)
        .where(Batch.id == batch.id, Batch.batch_id.is_(None), Batch.status == BatchStatus.QUEUED)
        .values(
            batch_id=batch_id,
            duplicates=duplicates,
            status=BatchStatus.PROCESSING,
            uploaded_ts=func.current_timestamp(),
            progress_ts=func.current_timestamp(),
            processed=0,
            held_ts=None,
        )
    )
    if recorded.rowcount == 0 and connection.scalar(select(Batch.batch_id).where(Batch.id == batch.id)) != batch_id:
        raise OwnershipLost(f"batch {batch.id} was uploaded by another run; this upload may have been paid twice")


def record_progress(connection: Connection, batch: BatchWork, processed: int) -> None:
    """Writes down how many addresses are verified; only a rise counts as progress."""
    step_of(
        connection,
        batch,
        update(Batch).where(Batch.processed < processed),
        must_match=False,
        processed=processed,
        progress_ts=func.current_timestamp(),
    )


def record_finish_requested(connection: Connection, batch: BatchWork) -> None:
    """Writes down that Bouncer was asked to finish the batch early."""
    step_of(
        connection,
        batch,
        update(Batch),
        finish_requested_ts=func.current_timestamp(),
        progress_ts=func.current_timestamp(),
    )


def record_verified(
    connection: Connection, batch: BatchWork, credits_charged: int | None, processed: int | None = None
) -> None:
    """Bouncer has completed the batch: it is in flight no more, and its results can be loaded.

    Args:
        connection: In a transaction that writes.
        batch: The batch, owned by the caller.
        credits_charged: What it cost, or None where Bouncer did not tell.
        processed: How many addresses are verified, where Bouncer tells: fewer than all if it was finished early.
    """
    step_of(
        connection,
        batch,
        update(Batch).where(Batch.status.in_(UNSETTLED), Batch.batch_id.is_not(None)),
        status=BatchStatus.DOWNLOADING,
        verified_ts=func.coalesce(Batch.verified_ts, func.current_timestamp()),
        credits=credits_charged,
        processed=Batch.quantity if processed is None else processed,
    )


def record_unreadable(connection: Connection, batch: BatchWork) -> float:
    """Writes down that a download of the batch could not be read, unless an earlier one could not either.

    Returns:
        For how many seconds that has been so, over all runs that had the batch.
    """
    since = func.coalesce(Batch.unreadable_ts, func.current_timestamp())
    step_of(connection, batch, update(Batch), unreadable_ts=since)
    return float(connection.scalar(select(age_seconds(Batch.unreadable_ts)).where(Batch.id == batch.id)) or 0)


def step_of(
    connection: Connection, batch: BatchWork, statement: Update, *, must_match: bool = True, **values: object
) -> None:
    """Changes the row of a batch, if it is still the owner's.

    Args:
        connection: In a transaction that writes.
        batch: The batch, owned by the caller.
        statement: An UPDATE of batches, perhaps with conditions.
        must_match: Whether it is an error where the conditions do not hold.
        values: What is set.

    Raises:
        OwnershipLost: Another run has the batch, or a condition that must hold does not.
    """
    changed = connection.execute(
        statement.where(Batch.id == batch.id, Batch.owner == batch.owner).values(
            **values, heartbeat_ts=func.current_timestamp()
        )
    )
    if must_match and changed.rowcount == 0:
        raise OwnershipLost(f"batch {batch.id} was taken over by another run; nothing is lost")
