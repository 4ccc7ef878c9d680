"""How far each batch has come, and who works on it; every step is a compare-and-set on the batch's owner.

The row is the truth: a run that dies leaves it at the step that was reached, and the next owner goes on from there.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from sqlalchemy import ColumnElement, Connection, case, exists, func, not_, or_, select, update
from sqlalchemy.sql.dml import Update

from bouncer.accounts import ensure_row
from bouncer.addresses import normalise_all
from bouncer.dialects import age_seconds
from bouncer.errors import OwnershipLost
from bouncer.interleaving import interleave
from bouncer.tables import Account, Batch, BatchStatus, Contact, Layer, QueuedContact, QueueStatus, Request
from bouncer.upload_history import count_upload

__all__ = [
    "ALL_PLACES_HELD",
    "HEARTBEAT_SECONDS",
    "STALE_SECONDS",
    "UNSETTLED",
    "Admission",
    "BatchTitle",
    "BatchWork",
    "Step",
    "account_of",
    "addresses_to_send",
    "admit_upload",
    "beat",
    "count_held_slots",
    "forget_dead_leases",
    "has_leases_of_silent_owners",
    "has_no_owner",
    "has_room",
    "held_fill_all_places",
    "held_uploads",
    "is_unsent",
    "longest_at_bouncer_seconds",
    "record_ambiguous_upload",
    "record_finish_requested",
    "record_lease",
    "record_lost_answer",
    "record_progress",
    "record_refused_upload",
    "record_unreadable",
    "record_upload",
    "record_verified",
    "release",
    "take",
    "was_asked_for",
]

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 20.0
"""An owner that has been silent for four heartbeats is gone. A false alarm costs nothing: every step is fenced."""

HELD_IN_FLIGHT_SECONDS = 7200
"""How long a held batch counts as in flight: by then Bouncer has finished it, if it ever had it."""

ALL_PLACES_HELD = (
    "held batches take all places of the account; to send them again, which may be paid twice: bouncer-flows requeue"
    " --held"
)

SLOWEST_SECONDS_AN_ADDRESS = 0.036
"""Bouncer verifies 100,000 to 200,000 addresses an hour of an account: https://docs.usebouncer.com."""

LOST_IN_FLIGHT_SECONDS = 60
"""How much longer than that a lost upload counts as in flight: by then Bouncer has finished it, if it ever had it."""

UNSETTLED = (BatchStatus.QUEUED, BatchStatus.PROCESSING, BatchStatus.DOWNLOADING)


class Step(enum.StrEnum):
    """What a batch needs next."""

    UPLOAD = "upload"
    DECIDE = "decide"
    POLL = "poll"
    LOAD = "load"
    NOTHING = "nothing"


class Admission(enum.Enum):
    """Whether an upload may begin."""

    ADMITTED = "admitted"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    CALLED = "Bouncer has called for it, so it may have the batch already"
    FULL = "as many batches in flight as the account may have"


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


def addresses_to_send(connection: Connection, id: int) -> list[str]:  # noqa: A002  # the column's name
    """The addresses of a batch, normalised, each once, with each domain spread evenly."""
    emails = connection.scalars(
        select(Contact.email)
        .join(QueuedContact, QueuedContact.global_id == Contact.global_id)
        .where(QueuedContact.batch_id == id, QueuedContact.status == QueueStatus.ASSIGNED)
        .order_by(QueuedContact.queue_id)
    ).all()
    # An application may have changed an address since it was claimed; what is none any more fails at the next claim.
    checked = normalise_all(pd.Series(emails, dtype=object))
    addresses = checked[checked["reason"].isna()].drop_duplicates("key")
    return list(addresses["address"].iloc[interleave(addresses["domain"])])


def longest_at_bouncer_seconds(quantity: int, max_batches: int) -> float:
    """How long Bouncer has a batch at its slowest, in seconds; all batches in flight share the account's pace."""
    return LOST_IN_FLIGHT_SECONDS + quantity * max_batches * SLOWEST_SECONDS_AN_ADDRESS


def has_room(connection: Connection, batch: BatchWork, max_batches: int) -> bool:
    """Whether the account has room for one more batch in flight; without a lock, only a hint."""
    others = _in_flight(connection, batch.account, max_batches, besides=batch.id)
    # Asked anew: this run may have lost an upload since it took the batch.
    lost = connection.scalar(select(_lost(max_batches)).where(Batch.id == batch.id)) or 0
    return others + 1 + int(lost) <= max_batches


def held_fill_all_places(connection: Connection, account: str, max_batches: int) -> bool:
    """Whether held batches alone, which may all be at Bouncer, are as many as an account may have in flight.

    Then nothing that runs makes room: a person decides on them, or they count no more after HELD_IN_FLIGHT_SECONDS.
    """
    query = select(func.sum(held_uploads())).where(
        Batch.account == account, Batch.held_ts.is_not(None), Batch.status.in_([BatchStatus.QUEUED])
    )
    return int(connection.scalar(query) or 0) >= max_batches


def admit_upload(connection: Connection, batch: BatchWork, max_batches: int, addresses: int | None = None) -> Admission:
    """Lets an upload begin, and records that it has, if the account has room for one more batch in flight.

    The account's row is locked, so no two workers count at once; the batches of dead workers count too, since
    Bouncer still works on them. A lost upload counts beside the one that repeats it, since Bouncer may have both, but
    not for ever: as many lost uploads as there is room for would keep each other from being repeated.

    Args:
        connection: In a transaction that writes.
        batch: The batch, owned by the caller.
        max_batches: The most batches in flight.
        addresses: How many are sent, if not as many as were claimed: an application may have deleted or changed
            contacts since. From then on that is the batch's quantity, by which a lost upload is recognised.
    """
    ensure_row(connection, batch.account)
    paused = connection.scalar(select(Account.paused_ts).where(Account.account == batch.account).with_for_update())
    if paused is not None:
        return Admission.PAUSED
    # A cancellation waits for the lock above, so that it either sees this upload begun or is seen here.
    its_request = Request.request_id == batch.request_id
    if connection.scalar(select(Request.bouncer_cancelled_ts).where(its_request)) is not None:
        return Admission.CANCELLED
    if connection.scalar(select(Batch.callback_ts).where(Batch.id == batch.id)) is not None:
        return Admission.CALLED
    if not has_room(connection, batch, max_batches):
        return Admission.FULL
    _step_of(
        connection,
        batch,
        update(Batch).where(Batch.status == BatchStatus.QUEUED, Batch.batch_id.is_(None)),
        upload_begun_ts=func.current_timestamp(),
        held_ts=None,
        quantity=addresses or Batch.quantity,
    )
    count_upload(connection, batch.account)
    return Admission.ADMITTED


def record_lease(connection: Connection, batch: BatchWork, lease: str | None) -> None:
    """Writes down which slot lease the owner holds, so that its successor can give it back."""
    _step_of(connection, batch, update(Batch), slot_lease=lease)


def record_refused_upload(connection: Connection, batch: BatchWork) -> None:
    """Bouncer certainly does not have the batch: the upload may be repeated at no risk."""
    _step_of(connection, batch, update(Batch), upload_begun_ts=None)


def record_lost_answer(connection: Connection, batch: BatchWork) -> None:
    """Writes down when an answer was lost: from there the time runs for which the upload counts as in flight.

    Safe to run twice: the first time counts, or waiting for a callback would begin anew with every restart.
    """
    _step_of(
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
    _step_of(connection, batch, update(Batch).where(Batch.batch_id.is_(None)))
    held = func.current_timestamp() if hold else None
    begun = Batch.upload_begun_ts if hold else None
    _step_of(
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
    _step_of(
        connection,
        batch,
        update(Batch).where(Batch.processed < processed),
        must_match=False,
        processed=processed,
        progress_ts=func.current_timestamp(),
    )


def record_finish_requested(connection: Connection, batch: BatchWork) -> None:
    """Writes down that Bouncer was asked to finish the batch early."""
    _step_of(
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
        processed: How many addresses are verified, likewise: fewer than all where it was finished early.
    """
    _step_of(
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
    _step_of(connection, batch, update(Batch), unreadable_ts=since)
    return float(connection.scalar(select(age_seconds(Batch.unreadable_ts)).where(Batch.id == batch.id)) or 0)


def _step_of(
    connection: Connection, batch: BatchWork, statement: Update, *, must_match: bool = True, **values: object
) -> None:
    changed = connection.execute(
        statement.where(Batch.id == batch.id, Batch.owner == batch.owner).values(
            **values, heartbeat_ts=func.current_timestamp()
        )
    )
    if must_match and changed.rowcount == 0:
        raise OwnershipLost(f"batch {batch.id} was taken over by another run; nothing is lost")


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


def _in_flight(connection: Connection, account: str, max_batches: int, besides: int) -> int:
    at_bouncer = or_(Batch.batch_id.is_not(None), Batch.upload_begun_ts.is_not(None))
    lost = _lost(max_batches)
    uploads = case(
        # The upload that a held batch began is counted among its lost ones.
        (Batch.held_ts.is_not(None), held_uploads()),
        (at_bouncer, lost + 1),
        else_=lost,
    )
    count = connection.scalar(
        select(func.sum(uploads)).where(
            Batch.account == account,
            Batch.id != besides,
            Batch.status.in_([BatchStatus.QUEUED, BatchStatus.PROCESSING]),
        )
    )
    return int(count or 0)


def held_uploads() -> ColumnElement[int]:
    """How many uploads of a batch count as in flight while it waits for a person."""
    return case((age_seconds(Batch.held_ts) < HELD_IN_FLIGHT_SECONDS, Batch.ambiguous_uploads), else_=0)


def _lost(max_batches: int) -> ColumnElement[int]:
    # All batches in flight share the account's pace.
    done_by = LOST_IN_FLIGHT_SECONDS + Batch.quantity * (max_batches * SLOWEST_SECONDS_AN_ADDRESS)
    return case((age_seconds(Batch.progress_ts) < done_by, Batch.ambiguous_uploads), else_=0)
