"""How far each batch has come, and who works on it.

The row is the truth: a run that dies leaves it at the step that was reached, and the next owner goes on from there.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, case, exists, func, not_, or_, select, update

from bouncer.dialects import age_seconds
from bouncer.tables import Batch, BatchStatus, Layer

__all__ = [
    "HEARTBEAT_SECONDS",
    "STALE_SECONDS",
    "UNSETTLED",
    "BatchTitle",
    "BatchWork",
    "Step",
    "account_of",
    "beat",
    "count_held_slots",
    "forget_dead_leases",
    "has_leases_of_silent_owners",
    "has_no_owner",
    "is_unsent",
    "release",
    "take",
    "was_asked_for",
]

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 20.0
"""An owner that has been silent for four heartbeats is gone. A false alarm costs nothing: every step is fenced."""

UNSETTLED = (BatchStatus.QUEUED, BatchStatus.PROCESSING, BatchStatus.DOWNLOADING)


class Step(enum.StrEnum):
    """What a batch needs next."""

    UPLOAD = "upload"
    DECIDE = "decide"
    POLL = "poll"
    LOAD = "load"
    NOTHING = "nothing"


@dataclass(frozen=True)
class BatchTitle:
    """A batch by its row, its addresses, and whose they are; its text is what people see of it.

    Attributes:
        priority: How urgent it is.
        account: The account that it is sent with.
        runs: How many runs have taken it so far.
        in_flight: Whether Bouncer has it, or may have it.
        realtime: Whether its addresses are asked for one by one, without a slot.
    """

    id: int
    quantity: int
    request_id: int
    priority: int
    account: str = "default"
    runs: int = 0
    in_flight: bool = False
    realtime: bool = False

    def __str__(self) -> str:
        return f"batch {self.id}: {self.quantity:,} contacts of request {self.request_id}"


@dataclass(frozen=True)
class BatchWork:
    """A batch as its owner sees it.

    Attributes:
        id: The row in ``Bouncer_Batches``.
        owner: The token of the present owner.
        batch_id: Bouncer's id, once the upload was answered.
        quantity: Addresses in it, each once.
        step: What it needs next. DECIDE: an upload was begun and its answer never recorded.
        in_flight_seconds: Since the upload was answered, or, where the plan's own tables do not tell, since the row
            was made; 0 before the upload.
        idle_seconds: Since Bouncer last made progress with it, likewise.
        stale_lease: The slot lease of an earlier owner, to be given back.
        finishing: Whether Bouncer was asked to finish it early.
        split_from: The batch that this one is a part of, where Bouncer refused that one.
        layer: Which pass it is of.
        held: Whether it waits for a person, with all its lost uploads counted.
        realtime: Whether its addresses are asked for one by one.
        unanswered: How many of them an earlier run was waiting for when it died.
    """

    id: int
    owner: str
    batch_id: str | None
    account: str
    user_id: int
    request_id: int
    priority: int
    quantity: int
    processed: int
    step: Step
    in_flight_seconds: float
    idle_seconds: float
    ambiguous_uploads: int
    stale_lease: str | None
    finishing: bool
    split_from: int | None
    layer: Layer
    held: bool
    realtime: bool
    unanswered: int


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
        step=_step(row.status, has_id=row.batch_id is not None, begun=row.upload_begun_ts is not None),
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


def is_unsent() -> list[ColumnElement[bool]]:
    """The conditions for a batch that nobody works on and that Bouncer certainly never had."""
    return [
        Batch.status == BatchStatus.QUEUED,
        has_no_owner(),
        Batch.batch_id.is_(None),
        Batch.upload_begun_ts.is_(None),
        Batch.held_ts.is_(None),
        Batch.ambiguous_uploads == 0,
        not_(was_asked_for()),
    ]


def was_asked_for() -> ColumnElement[bool]:
    """The condition for a batch in real time of which some addresses have been sent."""
    return or_(Batch.processed > 0, Batch.unanswered > 0, Batch.ambiguous_addresses > 0)


def has_leases_of_silent_owners(connection: Connection, account: str) -> bool:
    """Whether slot leases are written down of owners that seem dead, as all do after an outage of the database."""
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
    """How many slots living owners hold, by the leases in the rows of their batches in flight."""
    query = select(func.count()).where(
        Batch.account == account,
        Batch.status.in_([BatchStatus.QUEUED, BatchStatus.PROCESSING]),
        Batch.slot_lease.is_not(None),
        not_(has_no_owner()),
    )
    return connection.scalar(query) or 0


def _step(status: str, *, has_id: bool, begun: bool) -> Step:
    match status:
        # The plan's own code wrote Bouncer's status down: queued meant queued there.
        case BatchStatus.QUEUED | BatchStatus.PROCESSING if has_id:
            return Step.POLL
        case BatchStatus.QUEUED if begun:
            return Step.DECIDE
        case BatchStatus.QUEUED:
            return Step.UPLOAD
        case BatchStatus.DOWNLOADING:
            return Step.LOAD
        case _:
            return Step.NOTHING


def has_no_owner() -> ColumnElement[bool]:
    """Nobody works on the batch: it has no owner, or its owner has gone silent."""
    return or_(Batch.owner.is_(None), Batch.heartbeat_ts.is_(None), age_seconds(Batch.heartbeat_ts) > STALE_SECONDS)
