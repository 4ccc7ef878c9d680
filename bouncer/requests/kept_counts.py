"""Counts of requests at rest, kept in their rows, so that totals read only the contacts of requests with work.

A request is at rest while none of its contacts waits or is in a batch. Whoever gives it work, or takes contacts away,
clears the counts in the same transaction.
"""

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import orjson
from sqlalchemy import ColumnElement, Connection, Engine, Select, and_, bindparam, case, func, or_, select, update

from bouncer.storage.dialects import has_row
from bouncer.storage.tables import Layer, QueuedContact, QueueStatus, Request, Result
from bouncer.storage.transactions import reading, writing

__all__ = [
    "BY_REQUEST",
    "KeptCounts",
    "has_contact",
    "has_work",
    "keep_counts",
    "kept_and_others",
    "requests_with_contacts",
]

BY_REQUEST = "FORCE INDEX (idx_request_status)"
"""Has MariaDB and MySQL look for a request's contacts among these, and not among all of a status."""

_REQUESTS_A_TURN = 20
_REQUESTS_A_STATEMENT = 500

_Counted = dict[int, dict[str, "KeptCounts"]]


@dataclass(frozen=True)
class KeptCounts:
    """Contacts of requests at rest, of one pass or of both.

    Attributes:
        by_status: Contacts by their status in the queue.
        verdicts: Completed contacts by verdict.
    """

    by_status: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)

    def add(self, by_status: Mapping[str, int], verdicts: Mapping[str, int]) -> None:
        """Adds those of another request."""
        self.by_status.update(by_status)
        self.verdicts.update(verdicts)


def has_contact(*where: ColumnElement[bool]) -> ColumnElement[bool]:
    """The condition for a request that has such a contact in the queue, answered by a seek in an index."""
    its = select(QueuedContact.queue_id).with_hint(QueuedContact, BY_REQUEST)
    return has_row(its.where(QueuedContact.request_id == Request.request_id, *where))


def has_work() -> ColumnElement[bool]:
    """The condition for a request of which a contact waits or is in a batch."""
    return or_(*(has_contact(QueuedContact.status == status) for status in (QueueStatus.QUEUED, QueueStatus.ASSIGNED)))


@reading
def requests_with_contacts(connection: Connection) -> list[int]:
    """The requests that have contacts in the queue, whatever became of them; by one seek a request."""
    query = select(Request.request_id).where(has_contact()).order_by(Request.request_id)
    return list(connection.scalars(query))


def kept_and_others(
    connection: Connection, request_id: int | None, layer: Layer | None
) -> tuple[KeptCounts, list[list[int]]]:
    """Sums up the counts that are kept, and names the requests that are to be counted, so many for a statement.

    Args:
        connection: Any.
        request_id: Only this request, or None for all.
        layer: Only this pass, or None for both.
    """
    rows = connection.execute(_kept(of_all=request_id is None), {"request": request_id})
    kept, others = KeptCounts(), list[int]()
    for id_, counts in rows:
        if counts is None or not counts.startswith("{"):
            others.append(id_)
            continue
        for of_layer, its in orjson.loads(counts).items():
            if layer in {None, of_layer}:
                kept.add(**its)
    return kept, [others[at : at + _REQUESTS_A_STATEMENT] for at in range(0, len(others), _REQUESTS_A_STATEMENT)]


@cache
def _kept(*, of_all: bool) -> Select[int, str | None]:
    of_requests = has_contact() if of_all else Request.request_id == bindparam("request")
    return select(Request.request_id, case((~has_work(), Request.bouncer_counts))).where(of_requests)


def keep_counts(engine: Engine, most: int | None = None) -> int:
    """Counts requests at rest that have no counts yet, and keeps these.

    Safe to run twice, and beside all others: counts are kept only where nothing has happened since the counting began.

    Args:
        engine: The contacts database.
        most: The most requests; None for all.

    Returns:
        How many requests it was.

    Raises:
        DatabaseUnavailable: The database was away for too long.
    """
    kept, after = 0, -1
    while (most is None or kept < most) and (requests := _next_at_rest(engine, after)):
        mark = secrets.token_hex(8)
        _mark(engine, requests, mark)
        kept += _record(engine, _count(engine, requests), mark)
        after = requests[-1]
    return kept


@reading
def _next_at_rest(connection: Connection, after: int) -> list[int]:
    query = select(Request.request_id).where(Request.request_id > after, *_uncounted(), has_contact(), ~has_work())
    return list(connection.scalars(query.order_by(Request.request_id).limit(_REQUESTS_A_TURN)))


def _uncounted() -> list[ColumnElement[bool]]:
    # A mark that was left behind by a process that died is none.
    is_open = and_(Request.bouncer_counted_ts.is_not(None), Request.bouncer_completed_ts.is_(None))
    return [or_(Request.bouncer_counts.is_(None), Request.bouncer_counts.not_like("{%")), ~is_open]


@writing
def _mark(connection: Connection, requests: Sequence[int], mark: str) -> None:
    connection.execute(
        update(Request).where(Request.request_id.in_(requests), *_uncounted()).values(bouncer_counts=mark)
    )


@reading
def _count(connection: Connection, requests: Sequence[int]) -> _Counted:
    is_its_result = and_(
        QueuedContact.status == QueueStatus.COMPLETED,
        Result.batch_id == QueuedContact.batch_id,
        Result.global_id == QueuedContact.global_id,
    )
    key = (QueuedContact.request_id, QueuedContact.layer, QueuedContact.status, Result.bouncer_status)
    rows = connection.execute(
        select(*key, func.count())
        .outerjoin(Result, is_its_result)
        .where(QueuedContact.request_id.in_(requests))
        .group_by(*key)
    )
    found: _Counted = {}
    for request, layer, status, verdict, contacts in rows:
        its = found.setdefault(request, {}).setdefault(str(layer), KeptCounts())
        its.add({str(status): contacts}, {} if verdict is None else {verdict: contacts})
    return found


@writing
def _record(connection: Connection, counted: _Counted, mark: str) -> int:
    recorded = 0
    for request, by_layer in counted.items():
        if any(its.by_status.keys() & {QueueStatus.QUEUED, QueueStatus.ASSIGNED} for its in by_layer.values()):
            continue
        recorded += connection.execute(
            update(Request)
            .where(Request.request_id == request, Request.bouncer_counts == mark)
            .values(bouncer_counts=orjson.dumps(by_layer).decode())
        ).rowcount
    return recorded
