"""Admission of uploads: no more batches in flight at Bouncer than the account may have, counted in the rows."""

import enum
import math
from datetime import datetime
from functools import cache

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, case, func, select

from bouncer.accounts.state import ensure_row
from bouncer.accounts.upload_history import count_upload
from bouncer.addresses.normalisation import normalise_all
from bouncer.api.account_settings import LARGEST_BATCH
from bouncer.batches import transitions
from bouncer.batches.batches_in_flight import SLOWEST_SECONDS_AN_ADDRESS, Places, more_urgent_is_ready, queue_ahead
from bouncer.batches.state import BEFORE_VERDICTS, IN_FLIGHT, BatchState, BatchWork, held_seconds, is_in
from bouncer.storage.dialects import age_seconds, seconds_ago
from bouncer.storage.tables import Account, Batch, Contact, QueuedContact, QueueStatus, Request
from bouncer.storage.transactions import reading, writing

__all__ = [
    "ALL_PLACES_HELD",
    "Admission",
    "addresses_to_send",
    "admit_upload",
    "erased_so_far",
    "has_room",
    "held_fill_all_places",
    "held_uploads",
    "is_cancelled",
    "lock_account",
    "longest_at_bouncer_seconds",
]

ALL_PLACES_HELD = (
    "held batches take all places of the account; to send them again, which may be paid twice: bouncer-flows requeue"
    " --held"
)

HELD_IN_FLIGHT_SECONDS = 7200
"""Seconds for which a held batch counts as in flight: by then Bouncer has finished it, if it ever had it."""

LOST_IN_FLIGHT_SECONDS = 70
"""Seconds beyond what its addresses take for which a lost upload counts as in flight: by then Bouncer has finished it,
if it ever had it. Ten of them are for a database that has another clock after a failover."""

# Made once: whoever waits for room asks them again and again.
_MARKED = select(Request.request_id).where(
    Request.request_id == bindparam("request"), Request.bouncer_cancelled_ts.is_not(None)
)
_ERASED = select(Batch.erased).where(Batch.id == bindparam("batch"))
_CALLED = select(Batch.callback_ts).where(Batch.id == bindparam("batch"))
_PAUSED = select(Account.paused_ts).where(Account.account == bindparam("account")).with_for_update()


class Admission(enum.Enum):
    """Outcome of asking to begin an upload."""

    ADMITTED = "admitted"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    CALLED = "Bouncer has called for it, so it may have the batch already"
    ERASED = "an address of it was erased since its addresses were read"
    FULL = "as many batches in flight as the account may have"


@reading
def addresses_to_send(connection: Connection, batch_id: int) -> list[str]:
    """The addresses of a batch, normalised, each once, with each domain spread evenly."""
    emails = connection.scalars(
        select(Contact.email)
        .join(QueuedContact, QueuedContact.global_id == Contact.global_id)
        .where(QueuedContact.batch_id == batch_id, QueuedContact.status == QueueStatus.ASSIGNED)
        .order_by(QueuedContact.queue_id)
    ).all()
    # Here, since whoever asks only whether a request is cancelled needs neither.
    import pandas as pd

    from bouncer.addresses.interleaving import interleave

    # An application may have changed an address since it was claimed; what is none any more fails at the next claim.
    checked = normalise_all(pd.Series(emails, dtype=object))
    addresses = checked[checked["reason"].isna()].drop_duplicates("key")
    return list(addresses["address"].iloc[interleave(addresses["domain"])])


@reading
def erased_so_far(connection: Connection, batch_id: int) -> int:
    """Reads how many addresses of a batch were erased; to be read before those that are sent."""
    return connection.scalar(_ERASED, {"batch": batch_id}) or 0


def longest_at_bouncer_seconds(quantity: int, max_batches: int) -> float:
    """Longest time in seconds that Bouncer takes for a batch; all batches in flight share the account's pace."""
    return LOST_IN_FLIGHT_SECONDS + quantity * max_batches * SLOWEST_SECONDS_AN_ADDRESS


@reading
def has_room(connection: Connection, batch: BatchWork, max_batches: int, queue_seconds: float = 0.0) -> bool:
    """Tells whether the account has room for one more batch in flight; without a lock, only a hint.

    Args:
        connection: In a transaction.
        batch: The batch that is to be sent.
        max_batches: The most batches in flight.
        queue_seconds: How long it may have to wait in Bouncer's own queue, unless nothing is queued there; 0 for as
            long as it takes.
    """
    if more_urgent_is_ready(connection, batch):
        return False
    if queue_seconds > 0:
        ahead = queue_ahead(connection, batch.account, besides=batch.id)
        if not ahead.admits(Places(max_batches, queue_seconds)):
            return False
    others = _in_flight(connection, batch.account, max_batches, besides=batch.id)
    # Asked anew: this run may have lost an upload since it took the batch.
    lost = connection.scalar(_own_lost(max_batches), {"batch": batch.id}) or 0
    return others + 1 + int(lost) <= max_batches


@reading
def held_fill_all_places(connection: Connection, account: str, max_batches: int) -> bool:
    """Tells whether held batches alone, which may all be at Bouncer, are as many as an account may have in flight.

    Then nothing that runs makes room: a person decides on them, or they count no more after HELD_IN_FLIGHT_SECONDS.
    """
    query = select(func.sum(held_uploads())).where(Batch.account == account, is_in(BatchState.HELD))
    return int(connection.scalar(query) or 0) >= max_batches


@writing
def admit_upload(
    connection: Connection,
    batch: BatchWork,
    max_batches: int,
    addresses: int | None = None,
    queue_seconds: float = 0.0,
    erased: int | None = None,
) -> Admission:
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
        queue_seconds: How long it may have to wait in Bouncer's own queue, as in ``has_room``.
        erased: How many were erased when those that are to be sent were read; None where they are read afterwards.
    """
    paused = lock_account(connection, batch.account)
    # A pause lets what is at Bouncer go on to its end.
    is_called = connection.scalar(_CALLED, {"batch": batch.id}) is not None
    if paused is not None and not is_called:
        return Admission.PAUSED
    # A cancellation waits for the lock above, so that it either sees this upload begun or is seen here.
    if is_cancelled(connection, batch.request_id):
        return Admission.CANCELLED
    # An erasure waits for that lock too.
    if erased is not None and erased_so_far(connection, batch.id) != erased:
        return Admission.ERASED
    if is_called:
        return Admission.CALLED
    if not has_room(connection, batch, max_batches, queue_seconds):
        return Admission.FULL
    transitions.begin_upload(connection, batch, addresses)
    count_upload(connection, batch.account)
    return Admission.ADMITTED


def lock_account(connection: Connection, account: str) -> datetime | None:
    """Locks the row of an account, for which cancellations and erasures wait too, and reads since when it is paused."""
    ensure_row(connection, account)
    return connection.scalar(_PAUSED, {"account": account})


@reading
def is_cancelled(connection: Connection, request_id: int) -> bool:
    """Tells whether a request is cancelled."""
    return connection.scalar(_MARKED, {"request": request_id}) is not None


@cache
def held_uploads() -> ColumnElement[int]:
    """Counts the uploads of a batch that are in flight while it waits for a person."""
    recently = held_seconds() < HELD_IN_FLIGHT_SECONDS
    return case((and_(is_in(BatchState.HELD), recently), Batch.ambiguous_uploads), else_=0)


def _in_flight(connection: Connection, account: str, max_batches: int, besides: int) -> int:
    under_way, ended = connection.execute(_uploads(max_batches), {"account": account, "besides": besides}).one()
    return int(under_way or 0) + int(ended or 0)


@cache
def _uploads(max_batches: int) -> Select[int | None, int | None]:
    lost = _lost(max_batches)
    uploads = case(
        # The upload that a held batch began is counted among its lost ones.
        (is_in(BatchState.HELD), held_uploads()),
        (is_in(*IN_FLIGHT), lost + 1),
        else_=lost,
    )
    others = (Batch.account == bindparam("account"), Batch.id != bindparam("besides"))
    under_way = select(func.sum(uploads)).where(*others, is_in(*BEFORE_VERDICTS))
    # Whoever cancels a request, or erases a person, ends batches whose lost uploads Bouncer may still work on. What
    # ended earlier is left out by an index.
    longest = math.ceil(LOST_IN_FLIGHT_SECONDS + LARGEST_BATCH * max_batches * SLOWEST_SECONDS_AN_ADDRESS)
    ended = select(func.sum(lost)).where(
        *others,
        is_in(BatchState.FAILED),
        Batch.completed_ts >= seconds_ago(longest),
        Batch.ambiguous_uploads > 0,
    )
    return select(under_way.scalar_subquery(), ended.scalar_subquery())


@cache
def _own_lost(max_batches: int) -> Select[int]:
    return select(_lost(max_batches)).where(Batch.id == bindparam("batch"))


@cache
def _lost(max_batches: int) -> ColumnElement[int]:
    # All batches in flight share the account's pace.
    done_by = LOST_IN_FLIGHT_SECONDS + Batch.quantity * (max_batches * SLOWEST_SECONDS_AN_ADDRESS)
    return case((age_seconds(Batch.progress_ts) < done_by, Batch.ambiguous_uploads), else_=0)
