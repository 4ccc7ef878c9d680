"""One owner a batch: taken by compare-and-set, alive while its heart beats, its slot"s lease on record."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, case, exists, func, not_, or_, select, update

from bouncer.batches.state import BatchWork, has_no_owner, step_from
from bouncer.storage.dialects import age_seconds
from bouncer.storage.tables import Batch, BatchStatus, Layer

__all__ = [
    "account_of",
    "beat",
    "count_held_slots",
    "forget_dead_leases",
    "has_leases_of_silent_owners",
    "release",
    "take",
]


def take(connection: Connection, id: int, owner: str) -> BatchWork | None:  # noqa: A002  # the column's name
    """Makes ``owner`` the one owner of a batch, if it has none or its owner has gone silent.

    Returns:
        The batch, or None where another owner is alive, or there is no such batch.
    """
    taken = connection.execute(
        update(Batch)
        .where(Batch.id == id, or_(Batch.owner == owner, has_no_owner()))
        .values(owner=owner, heartbeat_ts=func.current_timestamp(), retry_count=Batch.retry_count + 1)
    )
    if taken.rowcount == 0:
        return None
    in_flight = func.coalesce(Batch.uploaded_ts, case((Batch.batch_id.is_not(None), Batch.created_ts)))
    row = connection.execute(
        select(
            Batch,
            func.coalesce(age_seconds(in_flight), 0).label("in_flight_seconds"),
            func.coalesce(age_seconds(func.coalesce(Batch.progress_ts, in_flight)), 0).label("idle_seconds"),
        ).where(Batch.id == id)
    ).one()
    return BatchWork(
        id=row.id,
        owner=owner,
        batch_id=row.batch_id,
        account=row.account,
        user_id=row.user_id,
        request_id=row.request_id,
        priority=row.priority,
        quantity=row.quantity,
        processed=row.processed,
        step=step_from(row.status, has_id=row.batch_id is not None, begun=row.upload_begun_ts is not None),
        in_flight_seconds=float(row.in_flight_seconds),
        idle_seconds=float(row.idle_seconds),
        ambiguous_uploads=row.ambiguous_uploads,
        stale_lease=row.slot_lease,
        finishing=row.finish_requested_ts is not None,
        split_from=row.split_from,
        layer=Layer(row.layer),
        held=row.held_ts is not None,
        realtime=row.realtime,
        unanswered=row.unanswered,
    )


def account_of(connection: Connection, id: int) -> str | None:  # noqa: A002  # the column's name
    """The account block that a batch is sent with, or None where there is no such batch."""
    return connection.scalar(select(Batch.account).where(Batch.id == id))


def beat(connection: Connection, owners: Sequence[str], ids: Sequence[int]) -> None:
    """Says that the owners of these batches are alive; a batch that was taken over is not among theirs any more.

    Batches whose rows are locked are left out: who loads one must not silence the others.
    """
    free = connection.scalars(
        select(Batch.id).where(Batch.id.in_(ids), Batch.owner.in_(owners)).with_for_update(skip_locked=True)
    ).all()
    connection.execute(update(Batch).where(Batch.id.in_(free)).values(heartbeat_ts=func.current_timestamp()))


def release(connection: Connection, batch: BatchWork) -> None:
    """Gives the batch up, so that the next owner need not wait for silence."""
    connection.execute(
        update(Batch).where(Batch.id == batch.id, Batch.owner == batch.owner).values(owner=None, heartbeat_ts=None)
    )


def has_leases_of_silent_owners(connection: Connection, account: str) -> bool:
    """Tells whether owners that seem dead have slot leases on record, as all do after an outage of the database."""
    return bool(connection.scalar(select(exists().where(*_is_dead_lease(account), Batch.owner.is_not(None)))))


def forget_dead_leases(connection: Connection, account: str) -> list[str]:
    """Takes the slot leases of dead owners out of their batches' rows, and returns them to be given back."""
    dead = select(Batch.id, Batch.slot_lease).where(*_is_dead_lease(account))
    leases = connection.execute(dead.with_for_update()).all()
    if leases:
        connection.execute(update(Batch).where(Batch.id.in_([row.id for row in leases])).values(slot_lease=None))
    return [str(row.slot_lease) for row in leases]


def _is_dead_lease(account: str) -> list[ColumnElement[bool]]:
    return [Batch.account == account, Batch.slot_lease.is_not(None), has_no_owner()]


def count_held_slots(connection: Connection, account: str) -> int:
    """Counts the slots that living owners hold, by the leases in the rows of their batches in flight."""
    query = select(func.count()).where(
        Batch.account == account,
        Batch.status.in_([BatchStatus.QUEUED, BatchStatus.PROCESSING]),
        Batch.slot_lease.is_not(None),
        not_(has_no_owner()),
    )
    return connection.scalar(query) or 0
