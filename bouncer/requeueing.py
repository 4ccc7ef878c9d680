"""Putting failed contacts back into the queue, and deciding on held batches: what a person does after a look."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, select, update

from bouncer.tables import Batch, BatchStatus, DeadLetter, QueuedContact, QueueStatus

__all__ = ["Requeued", "requeue"]


@dataclass(frozen=True)
class Requeued:
    """What a requeue did, or would do.

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


def requeue(
    connection: Connection, *, request_id: int | None = None, held: bool = False, dry_run: bool = False
) -> Requeued:
    """Puts failed contacts back into the queue and marks their dead letters reviewed; settled ones are left alone.

    Contacts whose address cannot be mailed to at all would only fail again, so they stay. Safe to run twice.

    Args:
        connection: In a transaction that writes.
        request_id: Only this request, or None for all.
        held: Also send the held batches again.
        dry_run: Only count.
    """
    failed: list[ColumnElement[bool]] = [QueuedContact.status == QueueStatus.FAILED, QueuedContact.attempts > 0]
    letters: list[ColumnElement[bool]] = [DeadLetter.reviewed.is_not(True)]
    holding: list[ColumnElement[bool]] = [Batch.held_ts.is_not(None), Batch.status == BatchStatus.QUEUED]
    if request_id is not None:
        failed.append(QueuedContact.request_id == request_id)
        letters.append(DeadLetter.request_id == request_id)
        holding.append(Batch.request_id == request_id)
    report = Requeued(
        contacts=connection.scalar(select(func.count()).select_from(QueuedContact).where(*failed)) or 0,
        dead_letters=connection.scalar(select(func.count()).select_from(DeadLetter).where(*letters)) or 0,
        held=(connection.scalar(select(func.count()).select_from(Batch).where(*holding)) or 0) if held else 0,
        dry_run=dry_run,
    )
    if dry_run:
        return report
    connection.execute(
        update(QueuedContact)
        .where(*failed)
        .values(
            status=QueueStatus.QUEUED,
            batch_id=None,
            assigned_ts=None,
            completed_ts=None,
            error_message=None,
        )
    )
    connection.execute(update(DeadLetter).where(*letters).values(reviewed=True))
    if held:
        connection.execute(update(Batch).where(*holding).values(held_ts=None, upload_begun_ts=None))
    return report
