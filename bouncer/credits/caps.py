"""Caps on credits: how much a run, or a request, may still commit; asked in the transaction that commits it.

What a batch has cost counts by Bouncer's own figure once that is known, and before that by its addresses. So a cap is
never passed, and what unknown verdicts give back can be used again.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache

from sqlalchemy import ColumnElement, Connection, Select, bindparam, case, func, not_, or_, select, update
from sqlalchemy.orm import aliased

from bouncer.batches.state import SETTLED, UNSETTLED, BatchState, is_in, was_accepted
from bouncer.plurals import counted
from bouncer.storage.tables import Batch, QueuedContact, QueueStatus, Request
from bouncer.storage.transactions import reading

__all__ = [
    "RequestCap",
    "Spending",
    "caps_reached",
    "repeat_would_pass",
    "room_of_requests",
    "room_of_run",
    "room_to_queue",
    "set_cap",
    "shared_rooms",
    "take_caps",
]

_MOST_SHOWN = 20


@dataclass(frozen=True)
class Spending:
    """Limits on the credits that one run may commit.

    Attributes:
        most: Credits at most, or None for any number.
        batches: The batches that the run has made so far.
    """

    most: int | None = None
    batches: frozenset[int] = frozenset()


@dataclass(frozen=True)
class RequestCap:
    """A request's cap, and how much of it is committed: charged, or in batches under way."""

    request_id: int
    name: str | None
    max_credits: int
    committed: int

    @property
    def is_reached(self) -> bool:
        """True if nothing more may be sent."""
        return self.committed >= self.max_credits


def room_of_run(connection: Connection, spending: Spending) -> int | None:
    """Counts the credits that a run may still commit, or None for any number."""
    if spending.most is None:
        return None
    made = spending.batches
    # The halves of a refused batch are sent in its place.
    of_run = or_(Batch.id.in_(made), Batch.split_from.in_(made))
    return spending.most - (_committed(connection, of_run) if made else 0)


def room_of_requests(connection: Connection, request_ids: Collection[int]) -> dict[int, int]:
    """Counts the credits that each of some requests may still commit; those without a cap are left out.

    A deep pass counts against the cap of the request whose contacts it looks at, and so has no more room than that.
    """
    found = connection.execute(_caps(), {"requests": list(request_ids)}).all()
    caps: dict[int, int] = {}
    for id_, cap, id_of_first, cap_of_first in found:
        caps |= {one: int(most) for one, most in ((id_, cap), (id_of_first, cap_of_first)) if most is not None}
    committed = _committed_by(connection, caps)
    room = {id_: most - committed[id_] for id_, most in caps.items()}
    return {id_: min(room[one] for one in (id_, id_of_first) if one in room) for id_, _, id_of_first, _ in found}


@cache
def _caps() -> Select[int, int | None, int, int | None]:
    first = aliased(Request)
    return (
        select(Request.request_id, Request.bouncer_max_credits, first.request_id, first.bouncer_max_credits)
        .outerjoin(first, first.request_id == Request.bouncer_deep_of)
        .where(
            Request.request_id.in_(bindparam("requests", expanding=True)),
            or_(Request.bouncer_max_credits.is_not(None), first.bouncer_max_credits.is_not(None)),
        )
    )


@reading
def shared_rooms(connection: Connection, request_ids: Collection[int]) -> dict[int, tuple[int, int | None]]:
    """For each of some requests, the request with whose cap it counts, and how many more credits that may commit.

    That is itself, and for a deep pass the request that it belongs to, unless it has a cap of its own.
    """
    room = room_of_requests(connection, request_ids)
    found = connection.execute(
        select(Request.request_id, Request.bouncer_deep_of, Request.bouncer_max_credits).where(
            Request.request_id.in_(request_ids)
        )
    ).all()
    return {
        id_: (deep_of if deep_of is not None and own_cap is None else id_, room.get(id_))
        for id_, deep_of, own_cap in found
    }


def room_to_queue(connection: Connection, request_id: int) -> int | None:
    """Counts the contacts of a request that may be queued without waiting for its cap, or None for any number."""
    room = room_of_requests(connection, [request_id]).get(request_id)
    if room is None or room <= 0:
        return room
    waiting = select(QueuedContact.queue_id).where(
        QueuedContact.request_id == request_id, QueuedContact.status == QueueStatus.QUEUED
    )
    return room - (connection.scalar(select(func.count()).select_from(waiting.limit(room).subquery())) or 0)


@reading
def repeat_would_pass(connection: Connection, request_id: int, addresses: int) -> bool:
    """Tells whether a request's cap could be passed by resending addresses whose answers were lost and maybe paid for.

    Args:
        connection: In a transaction.
        request_id: Their request.
        addresses: How many: all of it where it was an upload, single ones in real time.
    """
    room = room_of_requests(connection, [request_id]).get(request_id)
    # The batch is among what is committed already, once.
    return room is not None and room < addresses


def set_cap(connection: Connection, request_id: int, max_credits: int | None) -> None:
    """Sets the most credits that a request may cost, or takes the cap away. Safe to run twice."""
    connection.execute(update(Request).where(Request.request_id == request_id).values(bouncer_max_credits=max_credits))


def take_caps(connection: Connection) -> list[RequestCap]:
    """The latest open requests that have a cap, with how much of it is committed."""
    capped = connection.execute(
        select(Request.request_id, Request.name, Request.bouncer_max_credits)
        .where(Request.bouncer_max_credits.is_not(None), Request.bouncer_completed_ts.is_(None))
        .order_by(Request.request_id.desc())
        .limit(_MOST_SHOWN)
    ).all()
    committed = _committed_by(connection, [row.request_id for row in capped])
    return [RequestCap(id_, name, int(cap or 0), committed[id_]) for id_, name, cap in capped]


def caps_reached(request_ids: Iterable[int], *, run: int | None = None) -> tuple[str, ...]:
    """Says in words which caps keep contacts in the queue.

    Args:
        request_ids: The requests that have reached theirs.
        run: The cap of the run, where it is reached.
    """
    of_run = (
        () if run is None else (f"this run has reached its cap of {counted(run, 'credit')}; run ingest again to go on",)
    )
    return of_run + tuple(
        f"request {id_} has reached its cap of credits; import with --max-credits sets another" for id_ in request_ids
    )


def _committed_by(connection: Connection, request_ids: Collection[int]) -> dict[int, int]:
    if not request_ids:
        return {}
    passes: dict[int, list[int]] = {id_: [id_] for id_ in request_ids}
    for id_, of in connection.execute(
        select(Request.request_id, Request.bouncer_deep_of).where(Request.bouncer_deep_of.in_(passes))
    ):
        if of is not None:
            passes[of].append(id_)
    all_of_them = {id_ for theirs in passes.values() for id_ in theirs}
    found = connection.execute(
        select(Batch.request_id, func.sum(_commits()))
        .where(Batch.request_id.in_(all_of_them))
        .group_by(Batch.request_id)
    )
    committed = {one: int(theirs) for one, theirs in found}
    return {id_: sum(committed.get(one, 0) for one in theirs) for id_, theirs in passes.items()}


def _committed(connection: Connection, condition: ColumnElement[bool]) -> int:
    return int(connection.scalar(select(func.sum(_commits())).where(condition)) or 0)


def _commits() -> ColumnElement[int]:
    own = case(
        (Batch.credits.is_not(None), Batch.credits),
        # What was not asked for, or not answered, has gone back to the queue; lost answers are added below.
        (Batch.realtime & is_in(*SETTLED), func.coalesce(Batch.expected_credits, 0)),
        (
            is_in(BatchState.COMPLETED),
            func.coalesce(Batch.expected_credits + Batch.lost_addresses, Batch.quantity),
        ),
        # Its one upload is among the lost ones; in real time only single addresses are.
        (is_in(BatchState.HELD) & not_(Batch.realtime), 0),
        (is_in(*UNSETTLED) | was_accepted(), Batch.quantity),
        else_=0,
    )
    lost = Batch.ambiguous_uploads * Batch.quantity + Batch.ambiguous_addresses
    return own + lost
