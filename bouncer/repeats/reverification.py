"""Re-verification: contacts whose verdict has grown old go back into the queue, within a monthly budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice

from sqlalchemy import ColumnElement, Connection, Engine, func, insert, not_, select, update

from bouncer.batches.admission import is_cancelled
from bouncer.files.importing import find_or_make_request
from bouncer.requests.progress import note_open
from bouncer.requests.users import LOCAL_USER
from bouncer.storage.dialects import database_now, has_row, insert_ignoring
from bouncer.storage.tables import (
    Contact,
    Layer,
    Priority,
    QueuedContact,
    QueueStatus,
    Request,
    Result,
    Reverification,
)
from bouncer.storage.transactions import reading, writing
from bouncer.verdicts.freshness import FreshFor

__all__ = ["Old", "Reverified", "reverify"]

_CONTACTS_A_TRANSACTION = 2_000
_BY_VERDICT_AGE = "FORCE INDEX (idx_bouncer_verdict_age)"


@dataclass(frozen=True)
class Old:
    """Rule for the contacts that should be verified again.

    Attributes:
        days: Those whose verdict is older.
        statuses: Only those with one of these verdicts, where there are any.
        fresh_for: Not those with a deep verdict that is still good: a basic one, which tells less, would not replace
            it, and they would be paid for again and again.
    """

    days: float
    statuses: Sequence[str] = ()
    fresh_for: FreshFor = field(default_factory=FreshFor)

    def conditions(self, now: datetime) -> list[ColumnElement[bool]]:
        """The conditions on a contact."""
        since = now - timedelta(days=self.days)
        queued = select(QueuedContact.queue_id).where(QueuedContact.global_id == Contact.global_id).correlate(Contact)
        waiting = queued.where(QueuedContact.status.in_([QueueStatus.QUEUED, QueueStatus.ASSIGNED]))
        # A look that found nothing out leaves the older verdict; such a contact would come first every night.
        looked_at_in_vain = queued.where(
            QueuedContact.completed_ts >= since,
            Result.batch_id == QueuedContact.batch_id,
            Result.global_id == QueuedContact.global_id,
            Result.bouncer_status == "unknown",
        )
        old = [
            Contact.bouncer_verified_ts < since,
            not_(self.fresh_for.keeps_deep_verdict(now)),
            ~has_row(waiting),
            ~has_row(looked_at_in_vain),
        ]
        return [*old, Contact.bouncer_status.in_(self.statuses)] if self.statuses else old


@dataclass(frozen=True)
class Reverified:
    """Result of a re-verification, or of its dry run.

    Attributes:
        month: The month whose budget it is, as ``2026-11``, UTC.
        contacts: Contacts that were queued.
        budget_left: How many more this month.
        request_id: The request that they are in; None where there is none yet.
        is_cancelled: Whether somebody has cancelled that request, so that nothing more is queued this month.
        dry_run: Whether nothing was changed.
    """

    month: str
    contacts: int
    budget_left: int
    request_id: int | None
    is_cancelled: bool
    dry_run: bool


def reverify(
    engine: Engine,
    old: Old,
    *,
    monthly_budget: int,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Reverified:
    """Queues the contacts with the oldest verdicts again, at low priority, in the month's request.

    What is booked of the budget is counted in the database, in the transactions that queue the contacts: a run that
    is killed has booked what it has queued, and two at once book no more than there is. Safe to run again: who waits
    already is not queued twice.

    Args:
        engine: The contacts database.
        old: Which contacts.
        monthly_budget: The most contacts of a calendar month.
        dry_run: Only count.
        progress: Called after each transaction with the contacts queued so far.

    Returns:
        What it did.

    Raises:
        DatabaseUnavailable: The database was away for too long; the same call again does the rest.
    """
    month, booked, request_id, cancelled = _standing(engine)
    room = 0 if cancelled else max(monthly_budget - booked, 0)
    # Read once, without a lock: the table is the application's.
    candidates = _oldest(engine, old, room) if room else []
    if dry_run:
        return Reverified(month, len(candidates), room - len(candidates), request_id, cancelled, dry_run)
    queued = 0
    for start in range(0, len(candidates), _CONTACTS_A_TRANSACTION):
        tries: list[int] = []
        _book(engine, candidates[start : start + _CONTACTS_A_TRANSACTION], old, monthly_budget, tries)
        # After a commit of unknown outcome, the second try finds done what the first did.
        queued += max(tries)
        if progress is not None:
            progress(queued)
    month, booked, request_id, cancelled = _standing(engine)
    return Reverified(month, queued, max(monthly_budget - booked, 0), request_id, cancelled, dry_run)


@reading
def _standing(connection: Connection) -> tuple[str, int, int | None, bool]:
    month = _month(connection)
    row = connection.execute(
        select(Reverification.contacts, Reverification.request_id).where(Reverification.month == month)
    ).one_or_none()
    if row is None:
        return month, 0, None, False
    return month, row.contacts, row.request_id, row.request_id is not None and is_cancelled(connection, row.request_id)


def _month(connection: Connection) -> str:
    return f"{database_now(connection):%Y-%m}"


@reading
def _oldest(connection: Connection, old: Old, most: int) -> list[int]:
    # An index has the contacts with each verdict by its age: no more are read of each than may be taken.
    oldest = (
        select(Contact.bouncer_verified_ts, Contact.global_id)
        .with_hint(Contact, _BY_VERDICT_AGE)
        .where(*old.conditions(database_now(connection)))
        .order_by(Contact.bouncer_verified_ts, Contact.global_id)
        .limit(most)
    )
    of_each = [
        [(row.bouncer_verified_ts, row.global_id) for row in connection.execute(oldest.where(is_of_kind))]
        for is_of_kind in (Contact.bouncer_status == status for status in set(old.statuses or _statuses(connection)))
    ]
    return [contact for _, contact in islice(merge(*of_each), most)]


def _statuses(connection: Connection) -> list[str]:
    statuses: list[str] = []
    query = select(func.min(Contact.bouncer_status))
    found = connection.scalar(query)
    while found is not None:
        statuses.append(found)
        found = connection.scalar(query.where(Contact.bouncer_status > found))
    return statuses


@writing
def _book(connection: Connection, contacts: list[int], old: Old, monthly_budget: int, tries: list[int]) -> None:
    month = _month(connection)
    connection.execute(insert_ignoring(connection, Reverification), {"month": month})
    row = connection.execute(
        select(Reverification.contacts, Reverification.request_id)
        .where(Reverification.month == month)
        .with_for_update()
    ).one()
    room = monthly_budget - row.contacts
    request_id = _request(connection, month, row.request_id)
    if room <= 0 or is_cancelled(connection, request_id):
        tries.append(0)
        return
    now = database_now(connection)
    # Asked again under the lock: another run may have queued some of them since.
    still_old = (
        select(Contact.global_id)
        .where(Contact.global_id.in_(contacts), *old.conditions(now))
        .order_by(Contact.bouncer_verified_ts, Contact.global_id)
        .limit(room)
    )
    chosen = connection.scalars(still_old).all()
    if chosen:
        user_id = connection.scalar(select(Request.user_id).where(Request.request_id == request_id))
        shared = {
            "user_id": user_id,
            "request_id": request_id,
            "priority": int(Priority.LOW),
            "layer": Layer.BASIC,
            # The verdict that is there may be fresh enough for others.
            "verdict_after_ts": now,
        }
        connection.execute(insert(QueuedContact), [{"global_id": contact, **shared} for contact in chosen])
        note_open(connection, request_id)
    connection.execute(
        update(Reverification)
        .where(Reverification.month == month)
        .values(request_id=request_id, contacts=Reverification.contacts + len(chosen))
    )
    tries.append(len(chosen))


def _request(connection: Connection, month: str, known: int | None) -> int:
    # The application may have deleted it since.
    if known is not None and connection.scalar(select(func.count()).where(Request.request_id == known)):
        return known
    return find_or_make_request(connection, f"re-verification {month}", LOCAL_USER).request_id
