"""Counts the progress of everything from the rows themselves; of requests at rest, from the counts that are kept."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, bindparam, exists, func, select

from bouncer.batches.state import UNSETTLED, BatchState, state_of
from bouncer.errors import InputRefused
from bouncer.requests.kept_counts import kept_and_others
from bouncer.storage.tables import Batch, DeadLetter, Layer, QueuedContact, QueueStatus, Request, Result
from bouncer.storage.transactions import reading

__all__ = [
    "BatchCounts",
    "Progress",
    "count_batches",
    "count_contacts",
    "count_credits",
    "count_dead_letters",
    "count_each",
    "count_verdicts",
    "maybe_paid_twice",
    "open_layers",
    "require_request",
]


@dataclass(frozen=True)
class Progress:
    """Contacts by where they stand.

    Attributes:
        failed: Those that failed with a reason, but for cancelled ones.
        cancelled: Those that the cancellation of their request took out of the queue.
    """

    queued: int = 0
    assigned: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        """All contacts that were ever queued."""
        return self.open + self.settled

    @property
    def settled(self) -> int:
        """Contacts that are finished, with a verdict or with a reason."""
        return self.completed + self.failed + self.cancelled

    @property
    def open(self) -> int:
        """Contacts that wait or are in a batch."""
        return self.queued + self.assigned


@dataclass(frozen=True)
class BatchCounts:
    """Batches by state, and what went oddly with them.

    Attributes:
        by_state: Batches by state.
        held: Batches whose upload was lost and that wait for a person.
        possible_double_payments: Addresses that may have been paid twice; see ``maybe_paid_twice``.
    """

    by_state: dict[str, int] = field(default_factory=dict)
    held: int = 0
    possible_double_payments: int = 0
    missing: int = 0
    unmatched: int = 0

    @property
    def under_way(self) -> int:
        """Batches that are not settled."""
        return sum(self.by_state.get(state, 0) for state in UNSETTLED)


@reading
def count_contacts(connection: Connection, request_id: int | None = None, layer: Layer | None = None) -> Progress:
    """Counts the contacts of a request, or all, and of a layer, or both, by where they stand."""
    kept, others = kept_and_others(connection, request_id, layer)
    by_status = kept.by_status
    for requests in others:
        query = select(QueuedContact.status, func.count()).group_by(QueuedContact.status)
        rows = connection.execute(query.where(*_among(requests, layer)))
        by_status.update({str(status): count for status, count in rows})
    failed = by_status.pop(QueueStatus.FAILED, 0)
    # Fewer where an application has deleted cancelled contacts since.
    cancelled = min(_count_cancelled(connection, request_id), failed)
    return Progress(**by_status, failed=failed - cancelled, cancelled=cancelled)


def count_each(connection: Connection, requests: Sequence[int]) -> dict[int, Progress]:
    """Counts the contacts of each of some requests by where they stand."""
    by_request: dict[int, dict[str, int]] = {request: {} for request in requests}
    query = select(QueuedContact.request_id, QueuedContact.status, func.count()).where(*_among(requests, None))
    for request, status, count in connection.execute(query.group_by(QueuedContact.request_id, QueuedContact.status)):
        by_request[request][str(status)] = count
    were_cancelled = select(Request.request_id, Request.bouncer_cancelled).where(
        Request.request_id.in_(requests), Request.bouncer_cancelled_ts.is_not(None)
    )
    for request, wanted in connection.execute(were_cancelled):
        failed = by_request[request].get(QueueStatus.FAILED, 0)
        cancelled = min(wanted or 0, failed)
        by_request[request] |= {"failed": failed - cancelled, "cancelled": cancelled}
    return {request: Progress(**counts) for request, counts in by_request.items()}


_CANCELLED = select(func.sum(Request.bouncer_cancelled)).where(Request.bouncer_cancelled_ts.is_not(None))
_CANCELLED_OF_REQUEST = _CANCELLED.where(Request.request_id == bindparam("request"))


def _count_cancelled(connection: Connection, request_id: int | None) -> int:
    query = _CANCELLED if request_id is None else _CANCELLED_OF_REQUEST
    return int(connection.scalar(query, {"request": request_id}) or 0)


@reading
def count_batches(connection: Connection, request_id: int | None = None) -> BatchCounts:
    """Counts the batches of a request, or all."""
    of_request = [] if request_id is None else [Batch.request_id == request_id]
    state = state_of()
    rows = connection.execute(
        select(
            state,
            func.count().label("batches"),
            func.sum(maybe_paid_twice()).label("lost"),
            func.sum(Batch.missing).label("missing"),
            func.sum(Batch.unmatched).label("unmatched"),
        )
        .where(*of_request)
        .group_by(state)
    ).all()
    by_state = {str(row.state): int(row.batches) for row in rows}
    return BatchCounts(
        by_state=by_state,
        held=by_state.get(BatchState.HELD, 0),
        possible_double_payments=sum(int(row.lost) for row in rows),
        missing=sum(int(row.missing) for row in rows),
        unmatched=sum(int(row.unmatched) for row in rows),
    )


def maybe_paid_twice() -> ColumnElement[int]:
    """Of a batch, the addresses that may have been paid twice.

    They were in uploads whose answer was lost, or the batch was lost with what Bouncer may have been paid for it, or it
    was complete and Bouncer may have been paid for addresses without a verdict.
    """
    return Batch.ambiguous_uploads * Batch.quantity + Batch.ambiguous_addresses + Batch.lost_addresses


@reading
def count_credits(connection: Connection, request_id: int | None = None, layer: Layer | None = None) -> int:
    """Counts the credits that the batches of a request, or all, and of a layer, or both, have cost.

    By what Bouncer reported; where it reported nothing, by what the verdicts suggest.
    """
    of_request = [] if request_id is None else [Batch.request_id == request_id]
    of_layer = [] if layer is None else [Batch.layer == layer]
    cost = func.sum(func.coalesce(Batch.credits, Batch.expected_credits))
    return int(connection.scalar(select(cost).where(*of_request, *of_layer)) or 0)


@reading
def open_layers(connection: Connection, request_id: int | None = None, layer: Layer | None = None) -> set[Layer]:
    """The layers in which contacts of a request, or of any, wait or are in batches under way."""
    open_ = (QueueStatus.QUEUED, QueueStatus.ASSIGNED)
    of_request = None if request_id is None else [request_id]
    return {
        one
        for one in ([layer] if layer is not None else Layer)
        for status in open_
        if connection.scalar(select(exists().where(QueuedContact.status == status, *_among(of_request, one))))
    }


@reading
def count_verdicts(connection: Connection, request_id: int | None = None, layer: Layer | None = None) -> dict[str, int]:
    """Counts the settled contacts of a request, or all, and of a layer, or both, by Bouncer's verdict."""
    kept, others = kept_and_others(connection, request_id, layer)
    verdicts = kept.verdicts
    for requests in others:
        query = (
            select(Result.bouncer_status, func.count())
            .join(
                QueuedContact,
                (QueuedContact.batch_id == Result.batch_id) & (QueuedContact.global_id == Result.global_id),
            )
            .where(QueuedContact.status == QueueStatus.COMPLETED, *_among(requests, layer))
            .group_by(Result.bouncer_status)
        )
        verdicts.update({str(status): count for status, count in connection.execute(query)})
    return dict(verdicts.most_common())


def count_dead_letters(connection: Connection) -> int:
    """Dead letters that nobody has reviewed yet."""
    return connection.scalar(select(func.count()).where(DeadLetter.reviewed.is_not(True))) or 0


def _among(requests: Sequence[int] | None, layer: Layer | None) -> list[ColumnElement[bool]]:
    among: list[ColumnElement[bool]] = [] if requests is None else [QueuedContact.request_id.in_(requests)]
    return among if layer is None else [*among, QueuedContact.layer == layer]


@reading
def require_request(connection: Connection, request_id: int) -> None:
    """Makes sure that a request exists.

    Raises:
        InputRefused: There is no such request.
    """
    if connection.scalar(select(Request.request_id).where(Request.request_id == request_id)) is None:
        raise InputRefused(f"there is no request {request_id}; bouncer-flows status lists them")
