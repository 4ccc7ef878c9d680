"""One owner a batch: taken by compare-and-set, alive while its heart beats, its notes fenced by its token."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, case, exists, func, not_, or_, select, update
from sqlalchemy.sql.dml import Update

from bouncer.batches.state import BEFORE_VERDICTS, BatchState, BatchWork, is_in, state_of
from bouncer.errors import OwnershipLost
from bouncer.storage.dialects import age_seconds
from bouncer.storage.tables import Batch, Layer
from bouncer.storage.transactions import reading, writing

__all__ = [
    "HEARTBEAT_SECONDS",
    "STALE_SECONDS",
    "account_of",
    "beat",
    "count_held_slots",
    "finish_is_requested",
    "forget_dead_leases",
    "has_leases_of_silent_owners",
    "has_no_owner",
    "id_at_bouncer",
    "note",
    "record_finish_refused",
    "record_finish_requested",
    "record_lease",
    "record_lost_answer",
    "record_unreadable",
    "release",
    "take",
]

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 20.0
"""An owner that has been silent for four heartbeats is gone. A wrong guess costs nothing: every step is fenced."""

_IDS = Batch.id.in_(bindparam("ids", expanding=True))
_FREE = (
    select(Batch.id).where(_IDS, Batch.owner.in_(bindparam("owners", expanding=True))).with_for_update(skip_locked=True)
)
_BEAT = update(Batch).where(_IDS).values(heartbeat_ts=func.current_timestamp())


@cache
def has_no_owner() -> ColumnElement[bool]:
    """Nobody works on the batch: it has no owner, or its owner has gone silent."""
    return or_(Batch.owner.is_(None), Batch.heartbeat_ts.is_(None), age_seconds(Batch.heartbeat_ts) > STALE_SECONDS)


@writing
def take(connection: Connection, batch_id: int, owner: str) -> BatchWork | None:
    """Makes ``owner`` the one owner of a batch, if it has none or its owner has gone silent.

    Returns:
        The batch, or None where another owner is alive, or there is no such batch.
    """
    taken = connection.execute(_taking(), {"batch": batch_id, "taker": owner})
    if taken.rowcount == 0:
        return None
    row = connection.execute(_whole(), {"batch": batch_id}).one()
    return BatchWork(
        id=row.id,
        owner=owner,
        bouncer_id=row.batch_id,
        account=row.account,
        user_id=row.user_id,
        request_id=row.request_id,
        priority=row.priority,
        quantity=row.quantity,
        processed=row.processed,
        state=BatchState(row.state),
        in_flight_seconds=float(row.in_flight_seconds),
        idle_seconds=float(row.idle_seconds),
        ambiguous_uploads=row.ambiguous_uploads,
        stale_lease=row.slot_lease,
        finishing=row.finish_requested_ts is not None,
        split_from=row.split_from,
        layer=Layer(row.layer),
        realtime=row.realtime,
        unanswered=row.unanswered,
    )


@cache
def _taking() -> Update:
    return (
        update(Batch)
        .where(Batch.id == bindparam("batch"), or_(Batch.owner == bindparam("taker"), has_no_owner()))
        .values(owner=bindparam("taker"), heartbeat_ts=func.current_timestamp(), retry_count=Batch.retry_count + 1)
    )


@cache
def _whole() -> Select[Any]:
    in_flight = func.coalesce(Batch.uploaded_ts, case((Batch.bouncer_id.is_not(None), Batch.created_ts)))
    return select(
        *Batch.__table__.columns,
        state_of(),
        func.coalesce(age_seconds(in_flight), 0).label("in_flight_seconds"),
        func.coalesce(age_seconds(func.coalesce(Batch.progress_ts, in_flight)), 0).label("idle_seconds"),
    ).where(Batch.id == bindparam("batch"))


@reading
def account_of(connection: Connection, batch_id: int) -> str | None:
    """The account block that a batch is sent with, or None where there is no such batch."""
    return connection.scalar(select(Batch.account).where(Batch.id == batch_id))


@reading
def id_at_bouncer(connection: Connection, batch_id: int) -> str | None:
    """Bouncer's id of a batch, or None where none was written down."""
    return connection.scalar(select(Batch.bouncer_id).where(Batch.id == batch_id))


@writing
def beat(connection: Connection, owners: Sequence[str], ids: Sequence[int]) -> None:
    """Says that the owners of these batches are alive; a batch that was taken over is not among theirs any more.

    Batches whose rows are locked are left out: who loads one must not silence the others.
    """
    free = connection.scalars(_FREE, {"ids": ids, "owners": owners}).all()
    connection.execute(_BEAT, {"ids": free})


@writing
def release(connection: Connection, batch: BatchWork) -> None:
    """Gives the batch up, so that the next owner need not wait for silence."""
    connection.execute(
        update(Batch).where(Batch.id == batch.id, Batch.owner == batch.owner).values(owner=None, heartbeat_ts=None)
    )


@reading
def has_leases_of_silent_owners(connection: Connection, account: str) -> bool:
    """Tells whether owners that seem dead have slot leases on record, as all do after an outage of the database."""
    return bool(connection.scalar(select(exists().where(*_is_dead_lease(account), Batch.owner.is_not(None)))))


@writing
def forget_dead_leases(connection: Connection, account: str) -> list[str]:
    """Takes the slot leases of dead owners out of their batches' rows, and returns them to be given back."""
    dead = select(Batch.id, Batch.slot_lease).where(*_is_dead_lease(account))
    leases = connection.execute(dead.with_for_update()).all()
    if leases:
        connection.execute(update(Batch).where(Batch.id.in_([row.id for row in leases])).values(slot_lease=None))
    return [str(row.slot_lease) for row in leases]


def _is_dead_lease(account: str) -> list[ColumnElement[bool]]:
    return [Batch.account == account, Batch.slot_lease.is_not(None), has_no_owner()]


@reading
def count_held_slots(connection: Connection, account: str) -> int:
    """Counts the slots that living owners hold, by the leases in the rows of their batches in flight."""
    query = select(func.count()).where(
        Batch.account == account,
        is_in(*BEFORE_VERDICTS),
        Batch.slot_lease.is_not(None),
        not_(has_no_owner()),
    )
    return connection.scalar(query) or 0


@writing
def record_lease(connection: Connection, batch: BatchWork, lease: str | None) -> None:
    """Writes down which slot lease the owner holds, so that its successor can give it back."""
    note(connection, batch, update(Batch), slot_lease=lease)


@writing
def record_lost_answer(connection: Connection, batch: BatchWork) -> None:
    """Writes down when an answer was lost: from there the time runs for which the upload counts as in flight.

    Safe to run twice: the first time counts, or waiting for a callback would begin anew with every restart.
    """
    note(
        connection,
        batch,
        update(Batch).where(or_(Batch.progress_ts.is_(None), Batch.progress_ts < Batch.upload_begun_ts)),
        must_match=False,
        progress_ts=func.current_timestamp(),
    )


@writing
def record_finish_requested(connection: Connection, batch: BatchWork) -> None:
    """Writes down that Bouncer was asked to finish the batch early."""
    note(
        connection,
        batch,
        update(Batch),
        finish_requested_ts=func.current_timestamp(),
        progress_ts=func.current_timestamp(),
    )


@reading
def finish_is_requested(connection: Connection, batch: BatchWork) -> bool:
    """Tells whether Bouncer has agreed to finish the batch early."""
    return connection.scalar(select(Batch.finish_requested_ts).where(Batch.id == batch.id)) is not None


@writing
def record_finish_refused(connection: Connection, batch: BatchWork) -> None:
    """Writes down that Bouncer refused to finish the batch; nothing has changed there."""
    note(connection, batch, update(Batch), finish_refused_ts=func.current_timestamp())


@writing
def record_unreadable(connection: Connection, batch: BatchWork) -> float:
    """Writes down that a download of the batch could not be read, unless an earlier one could not either.

    Returns:
        For how many seconds that has been so, over all runs that had the batch.
    """
    since = func.coalesce(Batch.unreadable_ts, func.current_timestamp())
    note(connection, batch, update(Batch), unreadable_ts=since)
    return float(connection.scalar(select(age_seconds(Batch.unreadable_ts)).where(Batch.id == batch.id)) or 0)


def note(
    connection: Connection, batch: BatchWork, statement: Update, *, must_match: bool = True, **values: object
) -> bool:
    """Changes the row of a batch, if it is still the owner's.

    Args:
        connection: In a transaction that writes.
        batch: The batch, owned by the caller.
        statement: An UPDATE of batches, perhaps with conditions.
        must_match: Whether it is an error where the conditions do not hold.
        values: What is set.

    Returns:
        Whether the conditions held.

    Raises:
        OwnershipLost: Another run has the batch, or a condition that must hold does not.
    """
    changed = connection.execute(
        statement.where(Batch.id == batch.id, Batch.owner == batch.owner).values(
            {"heartbeat_ts": func.current_timestamp(), **values}
        )
    )
    if must_match and changed.rowcount == 0:
        raise OwnershipLost(f"batch {batch.id} was taken over by another run; nothing is lost")
    return changed.rowcount == 1
