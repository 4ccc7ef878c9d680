"""Requests as people look for them: by name and owner, with their progress, verdicts, cost, result and age."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select

from bouncer.requests.counting import count_contacts, count_credits, count_verdicts
from bouncer.requests.kept_counts import has_work
from bouncer.storage.dialects import age_seconds
from bouncer.storage.tables import List, Request, User
from bouncer.storage.transactions import reading

__all__ = ["MOST_REQUESTS", "RequestLine", "list_requests"]

MOST_REQUESTS = 100
"""Requests that are looked at at once, the latest first: each is counted."""

_LATELY_SECONDS = 7 * 86_400


@dataclass(frozen=True)
class RequestLine:
    """A request as people look for it.

    Attributes:
        request_id: Its number.
        name: Its name; empty where it has none.
        owner: The e-mail address of its user; ``local user`` for lists that nobody is named for.
        user_id: Its user's number, for where no address may be.
        lines: Lines of the list that it was queued from; None for what something else has queued.
        contacts: Contacts that were queued.
        settled: Contacts of them with a verdict, failed or cancelled.
        failed: Contacts of them that failed with a reason.
        is_cancelled: Whether somebody has cancelled it.
        verdicts: Contacts by verdict, the most frequent first.
        credits: The cost of its batches.
        result: Where its result is; None where there is none yet.
        age_seconds: Since it was made; None where that is not known.
    """

    request_id: int
    name: str
    owner: str
    user_id: int | None
    lines: int | None
    contacts: int
    settled: int
    failed: int
    is_cancelled: bool
    verdicts: dict[str, int] = field(default_factory=dict)
    credits: int = 0
    result: str | None = None
    age_seconds: float | None = None

    @property
    def progress(self) -> float:
        """The share of its contacts that is settled."""
        return self.settled / self.contacts if self.contacts else 1.0


@reading
def list_requests(connection: Connection, *, all_of_them: bool = False, most: int = MOST_REQUESTS) -> list[RequestLine]:
    """Lists requests, the latest first.

    Args:
        connection: Any.
        all_of_them: Also those that were finished, or made, more than a week ago.
        most: The most requests.
    """
    query = (
        select(
            Request.request_id,
            Request.name,
            User.email,
            Request.user_id,
            List.lines,
            List.result,
            List.result_ts,
            Request.bouncer_cancelled_ts,
            age_seconds(Request.created_ts),
        )
        .join(User, User.id == Request.user_id, isouter=True)
        .join(List, List.request_id == Request.request_id, isouter=True)
        .order_by(Request.request_id.desc())
        .limit(most)
    )
    if not all_of_them:
        query = query.where(_is_of_interest())
    return [_line(connection, row) for row in connection.execute(query).all()]


def _is_of_interest() -> ColumnElement[bool]:
    lately = or_(
        age_seconds(Request.created_ts) < _LATELY_SECONDS,
        and_(Request.bouncer_completed_ts.is_not(None), age_seconds(Request.bouncer_completed_ts) < _LATELY_SECONDS),
    )
    return or_(lately, has_work())


def _line(connection: Connection, row: Row[*tuple[Any, ...]]) -> RequestLine:
    request_id, name, owner, user_id, lines, result, result_ts, cancelled_ts, age = row
    counted = count_contacts(connection, request_id)
    return RequestLine(
        request_id=request_id,
        name=name or "",
        owner=owner or "",
        user_id=user_id,
        lines=lines,
        contacts=counted.total,
        settled=counted.settled,
        failed=counted.failed,
        is_cancelled=cancelled_ts is not None,
        verdicts=count_verdicts(connection, request_id),
        credits=count_credits(connection, request_id),
        result=result if result_ts is not None else None,
        age_seconds=None if age is None else float(age),
    )
