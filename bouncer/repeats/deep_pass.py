"""The deep pass: contacts that the first pass left risky are queued once more, for an account that looks deeper."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import get_args

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, insert, or_, select, true
from sqlalchemy.orm import aliased

from bouncer.credits.caps import room_to_queue
from bouncer.errors import InputRefused
from bouncer.requests.progress import note_open
from bouncer.storage.dialects import database_now, has_row
from bouncer.storage.tables import Contact, Layer, QueuedContact, QueueStatus, Request, Result
from bouncer.storage.transactions import reading, writing
from bouncer.verdicts.statuses import CLEAR_STATUSES, DoubtfulStatus

__all__ = ["Risk", "Stretch", "deep_request_of", "pick_some"]

_STRETCH_ROWS = 10_000


@dataclass(frozen=True)
class Risk:
    """Rule for the contacts that are worth a second and deeper look.

    A verdict that answers is no doubt: Bouncer has resolved most addresses at domains that accept all by itself, and
    then says deliverable beside ``acceptAll``.

    Attributes:
        score_below: Those whose score is lower, of 0 to 100; None for none. No score at all is not a low one.
        accept_all: Those at domains that accept mail for any address, not those of which Bouncer could not tell.
        statuses: Only those with one of these verdicts; deliverable and undeliverable take none.
    """

    score_below: int | None = 70
    accept_all: bool = True
    statuses: Sequence[str] = get_args(DoubtfulStatus)

    def condition(self) -> ColumnElement[bool]:
        """The condition on a contact and its result."""
        reasons: list[ColumnElement[bool]] = []
        if self.accept_all:
            reasons.append(Result.domain_info["acceptAll"].as_string() == "yes")
        if self.score_below is not None:
            reasons.append(Contact.bouncer_score < self.score_below)
        doubt = [status for status in self.statuses if status not in CLEAR_STATUSES]
        return and_(Contact.bouncer_status.in_(doubt), or_(*reasons) if reasons else true())


@dataclass(frozen=True)
class Stretch:
    """A stretch of a request that was looked through.

    Attributes:
        last: The last row of the queue that was looked at, to go on from; None where there are no more.
        picked: Contacts that were queued for the deep pass.
    """

    last: int | None
    picked: int = 0


@reading
def deep_request_of(connection: Connection, request_id: int) -> int | None:
    """The request that holds the deep pass of another one, or None where there was none yet."""
    return connection.scalar(select(func.min(Request.request_id)).where(Request.bouncer_deep_of == request_id))


@writing
def pick_some(
    connection: Connection, request_id: int, risk: Risk, *, after: int, fresh_days: float, again: bool
) -> Stretch:
    """Looks through the next contacts of a request and queues the risky ones for the deep pass.

    They go into a request of their own, so that the first one stays complete. They count against the first one's cap on
    credits, and no more are queued than it leaves room for; of a cancelled request none is. Safe to run twice: a
    contact that waits for the deep pass, or that it has looked at within ``fresh_days``, is not requeued.

    Args:
        connection: In a transaction that writes.
        request_id: The request.
        risk: Which contacts to take.
        after: The row of the queue to go on behind; 0 to begin.
        fresh_days: For how long a deep look is good.
        again: Take also contacts that the deep pass has looked at already, unless it found out what they are.

    Returns:
        How far it came.

    Raises:
        InputRefused: There is no such request.
    """
    # Two runs at once must not both find a contact that nobody has picked.
    request = connection.execute(
        select(Request.user_id, Request.bouncer_cancelled_ts).where(Request.request_id == request_id).with_for_update()
    ).one_or_none()
    if request is None:
        raise InputRefused(f"there is no request {request_id}; leave the number out for all of them")
    deep_request = deep_request_of(connection, request_id)
    room = room_to_queue(connection, deep_request or request_id)
    if request.bouncer_cancelled_ts is not None or (room is not None and room <= 0):
        return Stretch(None)
    finished = (
        QueuedContact.request_id == request_id,
        QueuedContact.status == QueueStatus.COMPLETED,
        QueuedContact.layer == Layer.BASIC,
    )
    rows = connection.scalars(
        select(QueuedContact.queue_id)
        .where(*finished, QueuedContact.queue_id > after)
        .order_by(QueuedContact.queue_id)
        .limit(_STRETCH_ROWS)
    ).all()
    if not rows:
        return Stretch(None)
    now = database_now(connection)
    long_ago = now - timedelta(days=fresh_days)
    query = _risky(risk, long_ago, again=again).where(*finished, QueuedContact.queue_id.between(rows[0], rows[-1]))
    if not again:
        query = query.where(or_(Contact.bouncer_deep_ts.is_(None), Contact.bouncer_deep_ts < long_ago))
    picked = connection.execute(query if room is None else query.limit(room)).all()
    if picked:
        deep_request = deep_request or _new_request(connection, request_id, request.user_id)
        shared = {
            "request_id": deep_request,
            "status": QueueStatus.QUEUED,
            "layer": Layer.DEEP,
            # Without a moment, the deep look that a twin had at the same address lately is as good.
            "verdict_after_ts": now if again else None,
        }
        connection.execute(insert(QueuedContact), [{**row._mapping, **shared} for row in picked])
        note_open(connection, deep_request)
    return Stretch(rows[-1], len(picked))


def _risky(risk: Risk, long_ago: datetime, *, again: bool) -> Select[int, int, int]:
    queued = aliased(QueuedContact)
    # A contact that failed before would only fail again, unless somebody wants it so.
    left_alone = queued.status.in_([QueueStatus.QUEUED, QueueStatus.ASSIGNED, *([] if again else [QueueStatus.FAILED])])
    looked_at, deep = aliased(QueuedContact), aliased(Result)
    is_answered = exists().where(
        looked_at.global_id == QueuedContact.global_id,
        looked_at.layer == Layer.DEEP,
        deep.batch_id == looked_at.batch_id,
        deep.global_id == looked_at.global_id,
        deep.bouncer_status.in_(CLEAR_STATUSES),
        deep.processed_ts >= long_ago,
    )
    in_deep_pass = (queued.global_id == QueuedContact.global_id, queued.layer == Layer.DEEP)
    is_there = has_row(select(queued.queue_id).where(*in_deep_pass, left_alone))
    return (
        select(
            QueuedContact.global_id,
            func.min(QueuedContact.user_id).label("user_id"),
            func.max(QueuedContact.priority).label("priority"),
        )
        .join(Contact, Contact.global_id == QueuedContact.global_id)
        .outerjoin(Result, and_(Result.batch_id == Contact.bouncer_batch_id, Result.global_id == Contact.global_id))
        .where(risk.condition(), ~is_there, ~is_answered)
        .group_by(QueuedContact.global_id)
    )


def _new_request(connection: Connection, request_id: int, user_id: int | None) -> int:
    values = {"user_id": user_id, "name": f"deep pass of request {request_id}", "bouncer_deep_of": request_id}
    key: int = connection.execute(insert(Request).values(values)).lastrowid
    return key
