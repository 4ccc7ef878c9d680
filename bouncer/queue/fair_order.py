"""Order of claims: the request whose contacts come next, found in a few seeks however many contacts wait."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, literal, select, true
from sqlalchemy.orm import aliased

from bouncer.batches.state import UNSETTLED, is_in
from bouncer.credits.caps import room_of_requests
from bouncer.storage.tables import Batch, Layer, QueuedContact, QueueStatus, Request
from bouncer.storage.transactions import reading

__all__ = ["Source", "highest_waiting", "small_request_waits", "sources_in_turn"]

_MOST_REQUESTS = 200
"""Most waiting requests of one priority that are compared for fairness."""

_STRIDE = 500
_MOST_STRIDES = 20
"""Most strides of so many requests each that are compared where few of many requests wait."""

_FIRST_CONTACT = aliased(QueuedContact)
_Conditions = tuple[ColumnElement[bool], ...]


@dataclass(frozen=True)
class Source:
    """The contacts that go next: those of one request and priority.

    Attributes:
        layer: The pass that they wait for.
        priority: How urgent they are.
        request_id: Their request.
        user_id: Whose it is.
        waiting_requests: How many requests of this priority may take their turn.
        room: How many more credits the request may commit, or None for any number.
    """

    layer: Layer
    priority: int
    request_id: int
    user_id: int
    waiting_requests: int
    room: int | None


def sources_in_turn(
    connection: Connection, layer: Layer, request_id: int | None, at_most: int | None, capped: list[int]
) -> Iterator[Source]:
    """Says whose turn it is, and whose it is next where that source yields nothing.

    The most urgent priority goes first; within it the user, then the request, with the least under way.

    Args:
        connection: In a transaction; one that claims holds the lock of claims.
        layer: Of these contacts.
        request_id: Only this request, or None for all.
        at_most: Only requests with at most so many waiting contacts, or None for any.
        capped: Takes the requests that are passed over because they have reached their caps.

    Yields:
        A source; none where none may go.
    """
    waits: _Conditions = (QueuedContact.status == QueueStatus.QUEUED, QueuedContact.layer == layer)
    below: int | None = None
    while (priority := _highest_priority(connection, waits, request_id, below)) is not None:
        requests, room = _affordable_requests(connection, waits, priority, request_id, at_most, capped)
        if requests:
            yield from _fairest_first(connection, layer, priority, requests, room)
        below = priority


def _affordable_requests(
    connection: Connection,
    waits: _Conditions,
    priority: int,
    request_id: int | None,
    at_most: int | None,
    capped: list[int],
) -> tuple[list["_Waiting"], dict[int, int]]:
    after: int | None = -1
    while after is not None:
        if request_id is None:
            found, after = _waiting_requests(connection, waits, priority, after, at_most)
        else:
            found, after = _look_at(connection, waits, priority, at_most, Request.request_id == request_id)[0], None
        room = room_of_requests(connection, [one.request_id for one in found])
        affordable = [one for one in found if room.get(one.request_id, 1) > 0 and not one.is_too_large]
        capped += [id_ for one in found if room.get(id_ := one.request_id, 1) <= 0 and id_ not in capped]
        # Where the first hundreds have all reached their caps, or are too large, the next ones must not starve.
        if affordable:
            return affordable, room
    return [], {}


def _fairest_first(
    connection: Connection, layer: Layer, priority: int, requests: list["_Waiting"], room: dict[int, int]
) -> list[Source]:
    under_way = connection.execute(
        select(Batch.user_id, Batch.request_id, func.count())
        .where(Batch.layer == layer, is_in(*UNSETTLED))
        .group_by(Batch.user_id, Batch.request_id)
    ).all()
    by_user: dict[int, int] = {}
    by_request: dict[int, int] = {}
    for user, request, count in under_way:
        by_user[user] = by_user.get(user, 0) + count
        by_request[request] = by_request.get(request, 0) + count
    in_turn = sorted(
        requests, key=lambda one: (by_user.get(one.user_id, 0), by_request.get(one.request_id, 0), one.request_id)
    )
    return [
        Source(layer, priority, one.request_id, one.user_id, len(requests), room.get(one.request_id)) for one in in_turn
    ]


@reading
def small_request_waits(connection: Connection, layer: Layer, request_id: int | None, at_most: int) -> bool:
    """Tells whether a request has so few waiting contacts that they can be verified in real time."""
    return any(True for _ in sources_in_turn(connection, layer, request_id, at_most, []))


# Each of these questions is one that an index answers with a seek or two, however many contacts wait: the least or the
# greatest of a column behind equal ones. Asked with LIMIT 1, MariaDB may read all contacts of other requests first.


def highest_waiting(connection: Connection, layer: Layer, request_id: int | None = None) -> int | None:
    """The priority of the most urgent contacts that wait, or None where none waits.

    Args:
        connection: In a transaction.
        layer: Of these contacts.
        request_id: Only this request, or None for all.
    """
    waits: _Conditions = (QueuedContact.status == QueueStatus.QUEUED, QueuedContact.layer == layer)
    return _highest_priority(connection, waits, request_id, None)


def _highest_priority(
    connection: Connection, waits: _Conditions, request_id: int | None, below: int | None
) -> int | None:
    lower: ColumnElement[bool] = true() if below is None else QueuedContact.priority < below
    while True:
        priority = connection.scalar(select(func.max(QueuedContact.priority)).where(*waits, lower))
        if priority is None or request_id is None:
            return priority
        if _first_of(connection, (*waits, QueuedContact.priority == priority), request_id) is not None:
            return priority
        lower = QueuedContact.priority < priority


@dataclass(frozen=True)
class _Waiting:
    request_id: int
    user_id: int
    is_too_large: bool


def _waiting_requests(
    connection: Connection, waits: _Conditions, priority: int, after: int, at_most: int | None
) -> tuple[list[_Waiting], int | None]:
    # From the next request of which a contact waits, some hundreds are looked at in one statement, whether or not they
    # wait, and so on. Only the requests that wait would be a skip scan in a recursive query, for which MariaDB reads
    # all contacts that wait, once for each request. Where none is left, there is no number to go on from.
    of_priority = (*waits, QueuedContact.priority == priority)
    found: list[_Waiting] = []
    for _ in range(_MOST_STRIDES):
        first = connection.scalar(
            select(func.min(QueuedContact.request_id)).where(*of_priority, QueuedContact.request_id > after)
        )
        if first is None:
            return found, None
        waiting, last = _look_at(connection, waits, priority, at_most, Request.request_id >= first)
        found += waiting
        if len(found) >= _MOST_REQUESTS:
            found = found[:_MOST_REQUESTS]
            return found, found[-1].request_id
        after = first if last is None else last
    return found, after


def _look_at(
    connection: Connection,
    waits: _Conditions,
    priority: int,
    at_most: int | None,
    which: ColumnElement[bool],
) -> tuple[list[_Waiting], int | None]:
    # Those that wait, and the last that was looked at.
    of_request = QueuedContact.request_id == Request.request_id
    a_contact = select(QueuedContact.queue_id).where(*waits, QueuedContact.priority == priority, of_request).limit(1)
    # One more than it may be, over all priorities.
    one_more = select(QueuedContact.queue_id).where(*waits, of_request).limit(1).offset(at_most or 0)
    looked_at = (
        select(
            Request.request_id.label("request_id"),
            a_contact.scalar_subquery().label("contact"),
            (literal(None) if at_most is None else one_more.scalar_subquery()).label("one_more"),
        )
        .where(which)
        .order_by(Request.request_id)
        .limit(_STRIDE)
        .subquery()
    )
    rows = connection.execute(
        select(looked_at.c.request_id, _FIRST_CONTACT.user_id, looked_at.c.one_more.is_not(None))
        .outerjoin(_FIRST_CONTACT, _FIRST_CONTACT.queue_id == looked_at.c.contact)
        .order_by(looked_at.c.request_id)
    ).all()
    waiting = [_Waiting(request, user, bool(too_large)) for request, user, too_large in rows if user is not None]
    return waiting, rows[-1].request_id if rows else None


def _first_of(connection: Connection, waits: _Conditions, request_id: int) -> int | None:
    return connection.scalar(
        select(func.min(QueuedContact.queue_id)).where(*waits, QueuedContact.request_id == request_id)
    )
