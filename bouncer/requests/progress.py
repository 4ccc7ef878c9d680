"""Progress and completion of each request, kept in ``Requests``, where the application looks.

Counting all contacts of a large request takes seconds, so it is done seldom; whether one of them still waits is a seek
in an index, so that is asked often. A request counts as under way from its first claim on.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cache

from sqlalchemy import ColumnElement, Connection, Select, String, and_, cast, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute

from bouncer.requests.counting import Progress
from bouncer.requests.kept_counts import has_work
from bouncer.storage.dialects import age_seconds
from bouncer.storage.tables import QueuedContact, QueueStatus, Request
from bouncer.storage.transactions import reading, writing

__all__ = [
    "Completion",
    "RequestUnderWay",
    "any_open",
    "claim_count",
    "complete",
    "completion_of",
    "correct_count",
    "last_counted_open",
    "note_open",
    "record_announced",
    "record_count",
    "under_way",
]

_COUNTED_SECONDS = 10.0
_ROWS_A_SECOND = 50_000.0
"""A request is counted again after a second for each so many contacts: counting takes one or two hundredths of that."""

_ANNOUNCED_SECONDS = 10.0
"""A completion that was not announced for so long was left behind by a process that died."""


@dataclass(frozen=True)
class RequestUnderWay:
    """A request that is not complete, or whose completion was not announced.

    Attributes:
        is_open: Whether a contact of it waits or is in flight.
        is_due: Whether it should be counted again.
        is_unannounced: Whether it is complete and whoever should have said so is dead.
        counted_ts: When it was counted last; whoever counts it next changes this first.
    """

    request_id: int
    is_open: bool
    is_due: bool
    is_unannounced: bool
    counted_ts: str


@dataclass(frozen=True)
class Completion:
    """A request of which no contact waits or is in flight any more.

    Attributes:
        done: Contacts with a verdict.
        failed: Contacts that failed with a reason.
        cancelled: Contacts that a cancellation took out of the queue.
        name: The request's name; None where it has none.
    """

    request_id: int
    completed_ts: str
    done: int
    failed: int
    cancelled: int
    name: str | None = None


def any_open(connection: Connection, request_id: int | None = None) -> bool:
    """Tells whether a contact of a request, or of any, waits or is in flight."""
    of_request = [] if request_id is None else [QueuedContact.request_id == request_id]
    return any(
        connection.scalar(select(QueuedContact.queue_id).where(QueuedContact.status == status, *of_request).limit(1))
        is not None
        for status in (QueueStatus.QUEUED, QueueStatus.ASSIGNED)
    )


@reading
def last_counted_open(connection: Connection, request_id: int | None = None) -> int:
    """Returns the contacts of a request, or of all, that waited or were in flight when they were last counted."""
    of_request = [] if request_id is None else [Request.request_id == request_id]
    return int(
        connection.scalar(
            select(func.sum(Request.bouncer_queued + Request.bouncer_in_flight)).where(
                Request.bouncer_announced_ts.is_(None), Request.bouncer_counted_ts.is_not(None), *of_request
            )
        )
        or 0
    )


def note_open(connection: Connection, request_id: int) -> None:
    """Notes that contacts of a request wait, or wait again; to be called by whoever queues or claims them.

    Looks first, without a lock: nearly always it is noted already.
    """
    noted = and_(Request.bouncer_counted_ts.is_not(None), Request.bouncer_completed_ts.is_(None))
    if connection.scalar(select(Request.request_id).where(Request.request_id == request_id, noted)) is not None:
        return
    connection.execute(
        update(Request)
        .where(Request.request_id == request_id)
        .values(
            bouncer_counted_ts=func.coalesce(Request.bouncer_counted_ts, func.current_timestamp()),
            bouncer_completed_ts=None,
            bouncer_announced_ts=None,
            bouncer_counts=None,
        )
    )


@reading
def under_way(connection: Connection) -> list[RequestUnderWay]:
    """The requests that were claimed from and whose completion is not announced yet, by an index on just these."""
    return [
        RequestUnderWay(id_, bool(is_open), bool(is_due), bool(is_unannounced), counted)
        for id_, is_open, is_due, is_unannounced, counted in connection.execute(_under_way())
    ]


@cache
def _under_way() -> Select[int, bool, bool, bool, str]:
    rows = func.coalesce(
        Request.bouncer_queued
        + Request.bouncer_in_flight
        + Request.bouncer_done
        + Request.bouncer_failed
        + func.coalesce(Request.bouncer_cancelled, 0),
        0,
    )
    is_complete = Request.bouncer_completed_ts.is_not(None)
    return select(
        Request.request_id,
        has_work(),
        or_(
            Request.bouncer_queued.is_(None),
            and_(
                age_seconds(Request.bouncer_counted_ts) >= _COUNTED_SECONDS,
                age_seconds(Request.bouncer_counted_ts) * _ROWS_A_SECOND >= rows,
            ),
        ),
        and_(is_complete, age_seconds(Request.bouncer_completed_ts) >= _ANNOUNCED_SECONDS),
        _text(Request.bouncer_counted_ts),
    ).where(Request.bouncer_announced_ts.is_(None), Request.bouncer_counted_ts.is_not(None))


@writing
def claim_count(connection: Connection, request: RequestUnderWay) -> bool:
    """Lets one of all who find a request due count it; by compare-and-set on when it was counted last."""
    claimed = connection.execute(
        update(Request)
        .where(Request.request_id == request.request_id, _text(Request.bouncer_counted_ts) == request.counted_ts)
        .values(bouncer_counted_ts=func.current_timestamp())
    )
    return claimed.rowcount == 1


@writing
def record_count(connection: Connection, request_id: int, counted: Progress) -> None:
    """Writes down how far a request had come when it was counted, unless somebody has seen its end since."""
    is_open = and_(Request.request_id == request_id, Request.bouncer_completed_ts.is_(None))
    connection.execute(update(Request).where(is_open).values(_figures(counted)))


@writing
def correct_count(connection: Connection, request_id: int, counted: Progress) -> None:
    """Writes down the figures of a request from which contacts were taken away, also of one that is at its end."""
    connection.execute(update(Request).where(Request.request_id == request_id).values(_figures(counted)))


@writing
def complete(connection: Connection, request_id: int, counted: Progress) -> Completion | None:
    """Takes a request to its end, if no contact of it waits or is in flight, and it is not at its end already.

    The request's row is locked first: a contact that is queued now waits for the lock by its foreign key, and finds
    the request complete, so that its claim opens it again.

    Args:
        connection: In a transaction that writes.
        request_id: The request.
        counted: Its contacts, counted just now.

    Returns:
        The completion, for the one that brought it about; None for everybody else.
    """
    found = connection.execute(
        select(Request.bouncer_completed_ts).where(Request.request_id == request_id).with_for_update()
    ).one_or_none()
    if found is None or found.bouncer_completed_ts is not None or any_open(connection, request_id):
        return None
    connection.execute(
        update(Request)
        .where(Request.request_id == request_id)
        .values(**_figures(counted), bouncer_completed_ts=func.current_timestamp(), bouncer_announced_ts=None)
    )
    return completion_of(connection, request_id)


@reading
def completion_of(connection: Connection, request_id: int) -> Completion | None:
    """The completion of a request, or None where it is not complete."""
    row = connection.execute(
        select(
            Request.request_id,
            _text(Request.bouncer_completed_ts),
            func.coalesce(Request.bouncer_done, 0),
            func.coalesce(Request.bouncer_failed, 0),
            func.coalesce(Request.bouncer_cancelled, 0),
            Request.name,
        ).where(Request.request_id == request_id, Request.bouncer_completed_ts.is_not(None))
    ).one_or_none()
    return None if row is None else Completion(*row)


@writing
def record_announced(connection: Connection, completion: Completion) -> None:
    """Writes down that the event of a completion was sent, unless the request was opened again meanwhile."""
    connection.execute(
        update(Request)
        .where(
            Request.request_id == completion.request_id,
            _text(Request.bouncer_completed_ts) == completion.completed_ts,
        )
        .values(bouncer_announced_ts=func.current_timestamp())
    )


def _figures(counted: Progress) -> dict[str, object]:
    return {
        "bouncer_queued": counted.queued,
        "bouncer_in_flight": counted.assigned,
        "bouncer_done": counted.completed,
        "bouncer_failed": counted.failed,
        "bouncer_counted_ts": func.current_timestamp(),
        "bouncer_counts": None,
    }


def _text(moment: InstrumentedAttribute[datetime | None]) -> ColumnElement[str]:
    # As it is stored: SQLite knows no moments, and compares texts, of which the driver writes one with microseconds.
    return cast(moment, String(26))
