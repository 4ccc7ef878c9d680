"""Walks the queue by seeks in an index, however many contacts wait."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Engine, func, select

from bouncer.batches.state import AWAITS_UPLOAD, BatchState, is_in
from bouncer.storage.dialects import age_seconds
from bouncer.storage.tables import Batch, Contact, Layer, QueuedContact, QueueStatus
from bouncer.storage.transactions import reading

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["oldest_waiting_seconds", "walk"]

_CHUNK_ROWS = 20_000

_MOST_REQUESTS = 200
"""Most waiting requests of one priority that are looked at."""

_MOST_BATCHES = 200
"""Most unsent batches that are looked at, the oldest first."""


def oldest_waiting_seconds(connection: Connection, layer: Layer) -> int | None:
    """The age of the contact of a layer that waits longest, or None where none waits.

    Contacts wait in the queue, in batches that are not uploaded, and in batches that are held. Of each request and
    priority, and of each of those batches, the contact with the lowest number is looked at, which was queued first.
    """
    first_ones = [
        queue_id
        for priority in _priorities(connection, layer)
        for queue_id in _first_of_each_request(connection, layer, priority)
    ]
    first_ones += _first_of_each_unsent_batch(connection, layer)
    age = connection.scalar(
        select(func.max(age_seconds(QueuedContact.created_ts))).where(QueuedContact.queue_id.in_(first_ones))
    )
    return None if age is None else max(0, int(age))


@reading
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


def _first_of_each_unsent_batch(connection: Connection, layer: Layer) -> list[int]:
    unsent = connection.scalars(
        select(Batch.id)
        .where(is_in(*AWAITS_UPLOAD, BatchState.HELD), Batch.layer == layer)
        .order_by(Batch.id)
        .limit(_MOST_BATCHES)
    ).all()
    # As above: one seek a batch, where all of them at once would read each of their contacts.
    first_ones = (
        connection.scalar(select(func.min(QueuedContact.queue_id)).where(QueuedContact.batch_id == batch))
        for batch in unsent
    )
    return [queue_id for queue_id in first_ones if queue_id is not None]


def walk(engine: Engine, layer: Layer, request_id: int | None) -> Iterator[tuple[int, "pd.DataFrame"]]:
    """Reads the contacts that wait for a pass in the order of their claims, in chunks and short transactions.

    Args:
        engine: The contacts database.
        layer: The pass.
        request_id: Only this request, or None for all.

    Yields:
        A request, and some of its contacts: columns ``email`` and ``verdict_after``.
    """
    import pandas as pd

    waits = (QueuedContact.status == QueueStatus.QUEUED, QueuedContact.layer == layer)
    for priority in _priorities(engine, layer):
        here = (*waits, QueuedContact.priority == priority)
        request = request_id if request_id is not None else _next_request(engine, here, -1)
        while request is not None:
            after = -1
            while rows := _chunk(engine, here, request, after):
                after = rows[-1].queue_id
                yield (
                    request,
                    pd.DataFrame(
                        {
                            "email": pd.Series([row.email for row in rows], dtype=object),
                            "verdict_after": [row.verdict_after_ts for row in rows],
                        }
                    ),
                )
            request = None if request_id is not None else _next_request(engine, here, request)


@reading
def _next_request(connection: Connection, waits: tuple[ColumnElement[bool], ...], after: int) -> int | None:
    return connection.scalar(select(func.min(QueuedContact.request_id)).where(*waits, QueuedContact.request_id > after))


@reading
def _chunk(connection: Connection, waits: tuple[ColumnElement[bool], ...], request_id: int, after: int) -> list[Any]:
    return list(
        connection.execute(
            select(QueuedContact.queue_id, Contact.email, QueuedContact.verdict_after_ts)
            .join(Contact, Contact.global_id == QueuedContact.global_id)
            .where(*waits, QueuedContact.request_id == request_id, QueuedContact.queue_id > after)
            .order_by(QueuedContact.queue_id)
            .limit(_CHUNK_ROWS)
        )
    )
