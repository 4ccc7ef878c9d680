"""Who waits in the queue, found by seeks in an index, however many contacts wait."""

from sqlalchemy import Connection, func, select

from bouncer.dialects import age_seconds
from bouncer.tables import Layer, QueuedContact, QueueStatus

__all__ = ["oldest_waiting_seconds"]

_MOST_REQUESTS = 200
"""How many waiting requests of one priority are looked at."""


def oldest_waiting_seconds(connection: Connection, layer: Layer) -> int | None:
    """The age of the contact of a layer that waits longest, or None where none waits.

    Of each request and priority the contact with the lowest number is looked at, which was queued first.
    """
    first_ones = [
        queue_id
        for priority in _priorities(connection, layer)
        for queue_id in _first_of_each_request(connection, layer, priority)
    ]
    age = connection.scalar(
        select(func.max(age_seconds(QueuedContact.created_ts))).where(QueuedContact.queue_id.in_(first_ones))
    )
    return None if age is None else max(0, int(age))


def _priorities(connection: Connection, layer: Layer) -> list[int]:
    priorities: list[int] = []
    below = select(func.max(QueuedContact.priority)).where(
        QueuedContact.status == QueueStatus.QUEUED, QueuedContact.layer == layer
    )
    found = connection.scalar(below)
    while found is not None:
        priorities.append(found)
        found = connection.scalar(below.where(QueuedContact.priority < found))
    return priorities


def _first_of_each_request(connection: Connection, layer: Layer, priority: int) -> list[int]:
    # The least of a column behind equal ones is one seek in idx_claim.
    first_ones: list[int] = []
    waiting = (
        QueuedContact.status == QueueStatus.QUEUED,
        QueuedContact.layer == layer,
        QueuedContact.priority == priority,
    )
    request = connection.scalar(select(func.min(QueuedContact.request_id)).where(*waiting))
    while request is not None and len(first_ones) < _MOST_REQUESTS:
        first = connection.scalar(
            select(func.min(QueuedContact.queue_id)).where(*waiting, QueuedContact.request_id == request)
        )
        if first is not None:
            first_ones.append(first)
        request = connection.scalar(
            select(func.min(QueuedContact.request_id)).where(*waiting, QueuedContact.request_id > request)
        )
    return first_ones
