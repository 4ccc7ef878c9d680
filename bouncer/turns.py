"""Whose turn it is: which request's contacts are claimed next, asked in a few seeks however many contacts wait."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, select, true

from bouncer.batches import UNSETTLED
from bouncer.spending import room_of_requests
from bouncer.tables import Batch, Layer, QueuedContact, QueueStatus

__all__ = ["Source", "highest_waiting", "next_source", "small_request_waits"]

_MOST_REQUESTS = 200
"""How many waiting requests of one priority are compared for fairness."""

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


def next_source(
    connection: Connection, layer: Layer, request_id: int | None, at_most: int | None
) -> tuple[Source | None, list[int]]:
    """Finds whose turn it is: the most urgent priority, within it the user, then the request, with the least under way.

    Args:
        connection: In a transaction; one that claims holds the accounts' rows.
        layer: Of these contacts.
        request_id: Only this request, or None for all.
        at_most: Only requests with at most so many waiting contacts, or None for any.

    Returns:
        The source, or None where none may go; and the requests passed over because they have reached their caps.
    """
    waits: _Conditions = (QueuedContact.status == QueueStatus.QUEUED, QueuedContact.layer == layer)

    def may_go(id_: int) -> bool:
        return at_most is None or _waits_for_at_most(connection, waits, id_, at_most)

    capped: list[int] = []
    below: int | None = None
    while (priority := _highest_priority(connection, waits, request_id, below)) is not None:
        of_priority = (*waits, QueuedContact.priority == priority)
        requests, room = _affordable_requests(connection, of_priority, request_id, capped, may_go)
        if requests:
            return _fairest(connection, layer, priority, of_priority, requests, room), capped
        below = priority
    return None, capped


def _waits_for_at_most(connection: Connection, waits: _Conditions, request_id: int, most: int) -> bool:
    # Counted no further than it matters, and over all priorities.
    some = select(QueuedContact.queue_id).where(*waits, QueuedContact.request_id == request_id).limit(most + 1)
    return (connection.scalar(select(func.count()).select_from(some.subquery())) or 0) <= most


def _affordable_requests(
    connection: Connection,
    waits: _Conditions,
    request_id: int | None,
    capped: list[int],
    may_go: Callable[[int], bool],
) -> tuple[list[int], dict[int, int]]:
    after = -1
    while True:
        found = _waiting_requests(connection, waits, after) if request_id is None else [request_id]
        room = room_of_requests(connection, found)
        affordable = [id_ for id_ in found if room.get(id_, 1) > 0 and may_go(id_)]
        capped += [id_ for id_ in found if room.get(id_, 1) <= 0 and id_ not in capped]
        # Where the first hundreds have reached their caps or are too large, the next ones must not starve behind them.
        if affordable or request_id is not None or len(found) < _MOST_REQUESTS:
            return affordable, room
        after = found[-1]


def _fairest(
    connection: Connection,
    layer: Layer,
    priority: int,
    waits: _Conditions,
    requests: list[int],
    room: dict[int, int],
) -> Source:
    users = {id_: _user_of(connection, waits, id_) for id_ in requests}
    under_way = connection.execute(
        select(Batch.user_id, Batch.request_id, func.count())
        .where(Batch.layer == layer, Batch.status.in_(UNSETTLED))
        .group_by(Batch.user_id, Batch.request_id)
    ).all()
    by_user: dict[int, int] = {}
    by_request: dict[int, int] = {}
    for user, request, count in under_way:
        by_user[user] = by_user.get(user, 0) + count
        by_request[request] = by_request.get(request, 0) + count
    chosen = min(requests, key=lambda id_: (by_user.get(users[id_], 0), by_request.get(id_, 0), id_))
    return Source(layer, priority, chosen, users[chosen], len(requests), room.get(chosen))


def small_request_waits(connection: Connection, layer: Layer, request_id: int | None, at_most: int) -> bool:
    """Whether a request has so few waiting contacts that they can be verified in real time."""
    return next_source(connection, layer, request_id, at_most)[0] is not None


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


def _waiting_requests(connection: Connection, waits: _Conditions, after: int) -> list[int]:
    requests: list[int] = []
    while len(requests) < _MOST_REQUESTS:
        found = connection.scalar(
            select(func.min(QueuedContact.request_id)).where(
                *waits, QueuedContact.request_id > (requests[-1] if requests else after)
            )
        )
        if found is None:
            break
        requests.append(found)
    return requests


def _user_of(connection: Connection, waits: _Conditions, request_id: int) -> int:
    first = _first_of(connection, waits, request_id)
    user = connection.scalar(select(QueuedContact.user_id).where(QueuedContact.queue_id == first))
    return -1 if user is None else user


def _first_of(connection: Connection, waits: _Conditions, request_id: int) -> int | None:
    return connection.scalar(
        select(func.min(QueuedContact.queue_id)).where(*waits, QueuedContact.request_id == request_id)
    )
