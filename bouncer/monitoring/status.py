"""Taking stock: what waits, what is under way, how fast it goes and what is wrong, for ``bouncer-flows status``.

What can take long with millions of contacts, ``count_everything``, is apart from what is always quick, ``take_stock``,
so that a screen can be renewed all the time.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from bouncer.accounts.call_statistics import EXPECTED, Call
from bouncer.accounts.state import AccountState, read_state
from bouncer.api.request_gate import requests_in_window
from bouncer.batches.state import IN_FLIGHT, POLLED, UNSETTLED, BatchState, is_in, state_of
from bouncer.credits.caps import RequestCap, take_caps
from bouncer.monitoring.alerts import AlertInForce, in_force
from bouncer.monitoring.measurement import latest_metrics
from bouncer.monitoring.troubles import find_troubles
from bouncer.requests.counting import (
    BatchCounts,
    Progress,
    count_batches,
    count_contacts,
    count_dead_letters,
    count_each,
    count_verdicts,
)
from bouncer.steps.pacing import seconds_an_address
from bouncer.storage.dialects import age_seconds, database_now
from bouncer.storage.tables import Account, Batch, CallCount, QueuedContact, QueueStatus, Request
from bouncer.storage.transactions import reading
from bouncer.verdicts.second_chances import count_second_chances

__all__ = [
    "BatchInFlight",
    "Counts",
    "LastError",
    "Limits",
    "RequestProgress",
    "StatusReport",
    "Waiting",
    "count_everything",
    "take_stock",
]

_MOST_REQUESTS = 20
_UPLOADS_A_MINUTE = 60


@dataclass(frozen=True)
class Waiting:
    """Contacts that wait in the queue.

    Attributes:
        layer: The pass that they wait for.
        priority: 25, 50, 75 or 100; higher goes first.
        contacts: How many.
    """

    layer: str
    priority: int
    contacts: int


@dataclass(frozen=True)
class RequestProgress:
    """Progress of a request; the fields are those of ``contacts``, for one request."""

    request_id: int
    name: str | None
    queued: int
    assigned: int
    completed: int
    failed: int
    cancelled: int


@dataclass(frozen=True)
class Counts:
    """Counts over all contacts.

    Attributes:
        contacts: Contacts by where they stand.
        waiting: Those that wait, by pass and priority, the most urgent first.
        requests: The open requests, the oldest first; at most 20 of them.
        more_requests: How many open requests there are beyond those.
        verdicts: Contacts by verdict.
    """

    contacts: Progress
    waiting: list[Waiting]
    requests: list[RequestProgress]
    more_requests: int
    verdicts: dict[str, int]


@dataclass(frozen=True)
class BatchInFlight:
    """A batch that is not settled.

    Attributes:
        batch: Its row in ``Bouncer_Batches``.
        account: The account that pays.
        state: As docs/reference/states.md lists them.
        quantity: Addresses in it.
        processed: Addresses that Bouncer has verified.
        seconds: Since the upload; None before it.
        queued_ts: Since when it is queued at Bouncer; None where it is not.
        queued_seconds: How long ago that is.
        expected_end_ts: When Bouncer will have verified it, at its present pace or else that of recent batches; None
            where neither is known.
    """

    batch: int
    account: str
    request_id: int
    state: BatchState
    quantity: int
    processed: int
    seconds: int | None
    queued_ts: datetime | None
    queued_seconds: int | None
    expected_end_ts: datetime | None


@dataclass(frozen=True)
class Limits:
    """Use of an account's limits.

    Attributes:
        batches: Batches in flight.
        most_batches: The limit found by the last check, or set; None for accounts that neither knows.
        requests_this_minute: Requests in the present minute.
        most_requests_a_minute: The limit found by the last check, or set; None for accounts that neither knows.
    """

    account: str
    batches: int
    most_batches: int | None
    requests_this_minute: int
    most_requests_a_minute: int | None
    uploads_this_minute: int
    most_uploads_a_minute: int = _UPLOADS_A_MINUTE


@dataclass(frozen=True)
class LastError:
    """Errors of one kind in the last hour.

    Attributes:
        kind: Such as ``rate limited``.
        call: The call that brought it.
        count: How often.
        last_ts: The minute of the last one.
    """

    kind: str
    call: str
    count: int
    last_ts: datetime


@dataclass(frozen=True)
class StatusReport:
    """Progress of everything.

    Attributes:
        contacts: Contacts by where they stand.
        batches: Batches by state, and what went oddly with them.
        verdicts: Contacts by verdict.
        dead_letters: Dead letters that nobody has reviewed.
        second_chances: Contacts without a clear verdict that are retried once their time has come.
        account: Pause, breaker and credits of the account ``default``.
        requests_this_minute: Requests sent to Bouncer in the present minute.
        taken_ts: The database's time, UTC.
        waiting: Contacts that wait, by pass and priority.
        requests: The open requests.
        more_requests: How many open requests there are beyond those.
        in_flight: The batches that are not settled.
        limits: How much of each account's limits is in use.
        accounts: Pause, breaker and credits of every account.
        alerts: What check-health has found wrong and nobody has put right.
        last_errors: What went wrong with calls in the last hour, the latest first.
        caps: The open requests with a cap on their credits, and how much of it is committed.
        checked_ts: When check-health last ran, or None.
        figures: What it measured, by name; see docs/monitoring.md.
        troubles: What waits in vain, and which account's calls fail, each in a few words.
    """

    contacts: Progress
    batches: BatchCounts
    verdicts: dict[str, int]
    dead_letters: int
    second_chances: int
    account: AccountState
    requests_this_minute: int
    taken_ts: datetime
    waiting: list[Waiting]
    requests: list[RequestProgress]
    more_requests: int
    in_flight: list[BatchInFlight]
    limits: list[Limits]
    accounts: list[AccountState]
    alerts: list[AlertInForce]
    last_errors: list[LastError]
    caps: list[RequestCap]
    checked_ts: datetime | None
    figures: dict[str, int] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)


@reading
def count_everything(connection: Connection) -> Counts:
    """Counts all contacts: of requests at rest by the counts that are kept, of the others by their rows."""
    waiting, open_requests = _open_contacts(connection)
    shown = open_requests[:_MOST_REQUESTS]
    rows = connection.execute(select(Request.request_id, Request.name).where(Request.request_id.in_(shown)))
    names: dict[int, str | None] = {row.request_id: row.name for row in rows}
    return Counts(
        contacts=count_contacts(connection),
        waiting=waiting,
        requests=[
            RequestProgress(id_, names.get(id_), one.queued, one.assigned, one.completed, one.failed, one.cancelled)
            for id_, one in count_each(connection, shown).items()
        ],
        more_requests=len(open_requests) - len(shown),
        verdicts=count_verdicts(connection),
    )


@reading
def take_stock(
    connection: Connection, counts: Counts, *, most_batches: int, most_requests_a_minute: int
) -> StatusReport:
    """Puts together what there is to say.

    Args:
        connection: In a transaction.
        counts: As ``count_everything`` has them.
        most_batches: The limit of batches in flight, where no check has found another.
        most_requests_a_minute: The limit of requests, where no check has found another.
    """
    checked_ts, figures = latest_metrics(connection)
    most = {"limit_batches": most_batches, "limit_requests_a_minute": most_requests_a_minute, **figures}
    in_flight = _in_flight(connection)
    names = connection.scalars(select(Account.account).order_by(Account.account)).all() or ["default"]
    accounts = [read_state(connection, name) for name in names]
    batches, caps = count_batches(connection), take_caps(connection)
    return StatusReport(
        contacts=counts.contacts,
        batches=batches,
        verdicts=counts.verdicts,
        dead_letters=count_dead_letters(connection),
        second_chances=count_second_chances(connection),
        account=read_state(connection, "default"),
        requests_this_minute=requests_in_window(connection, "default"),
        taken_ts=database_now(connection),
        waiting=counts.waiting,
        requests=counts.requests,
        more_requests=counts.more_requests,
        in_flight=in_flight,
        limits=[
            Limits(
                account=name,
                batches=sum(one.account == name and one.state in IN_FLIGHT for one in in_flight),
                most_batches=most.get("limit_batches" if name == "default" else f"limit_batches@{name}"),
                requests_this_minute=requests_in_window(connection, name),
                most_requests_a_minute=most.get(
                    "limit_requests_a_minute" if name == "default" else f"limit_requests_a_minute@{name}"
                ),
                uploads_this_minute=_uploads_this_minute(connection, name),
            )
            for name in names
        ],
        accounts=accounts,
        alerts=[alert for name in names for alert in in_force(connection, name)],
        last_errors=_last_errors(connection),
        caps=caps,
        checked_ts=checked_ts,
        figures=figures,
        troubles=find_troubles(connection, counts.contacts, batches, accounts, caps),
    )


def _open_contacts(connection: Connection) -> tuple[list[Waiting], list[int]]:
    # One stretch of idx_claim, without a row of the queue.
    key = (QueuedContact.status, QueuedContact.layer, QueuedContact.priority, QueuedContact.request_id)
    rows = connection.execute(
        select(*key, func.count())
        .where(QueuedContact.status.in_([QueueStatus.QUEUED, QueueStatus.ASSIGNED]))
        .group_by(*key)
    )
    waiting: Counter[tuple[str, int]] = Counter()
    requests = set()
    for status, layer, priority, request, contacts in rows:
        requests.add(request)
        if status == QueueStatus.QUEUED:
            waiting[layer, priority] += contacts
    ordered = sorted(waiting.items(), key=lambda one: (one[0][0], -one[0][1]))
    return [Waiting(layer, priority, contacts) for (layer, priority), contacts in ordered], sorted(requests)


def _in_flight(connection: Connection) -> list[BatchInFlight]:
    now = database_now(connection)
    rows = connection.execute(
        select(
            Batch.id,
            Batch.account,
            Batch.request_id,
            state_of(),
            Batch.quantity,
            Batch.processed,
            Batch.uploaded_ts,
            age_seconds(Batch.uploaded_ts).label("seconds"),
        )
        .where(is_in(*UNSETTLED))
        .order_by(Batch.id)
    ).all()
    paces = {name: seconds_an_address(connection, name) for name in {row.account for row in rows}}
    found = []
    for row in rows:
        seconds = None if row.seconds is None else int(row.seconds)
        left = _seconds_left(seconds, row.processed, row.quantity, paces[row.account]) if row.state in POLLED else None
        found.append(
            BatchInFlight(
                row.id,
                row.account,
                row.request_id,
                BatchState(row.state),
                row.quantity,
                row.processed,
                seconds,
                row.uploaded_ts if row.state == BatchState.QUEUED_AT_BOUNCER else None,
                seconds if row.state == BatchState.QUEUED_AT_BOUNCER else None,
                None if left is None else now + timedelta(seconds=round(left)),
            )
        )
    return found


def _seconds_left(seconds: int | None, processed: int, quantity: int, pace: float | None) -> float | None:
    if seconds is None:
        return None
    if processed > 0 and seconds > 0:
        return seconds * (quantity - processed) / processed
    return None if pace is None else max(0.0, pace * quantity - seconds)


def _uploads_this_minute(connection: Connection, account: str) -> int:
    minute = database_now(connection).replace(second=0, microsecond=0)
    count = connection.scalar(
        select(func.sum(CallCount.count)).where(
            CallCount.window_start_ts >= minute, CallCount.account == account, CallCount.call == Call.CREATE
        )
    )
    return int(count or 0)


def _last_errors(connection: Connection) -> list[LastError]:
    since = database_now(connection) - timedelta(hours=1)
    last = func.max(CallCount.window_start_ts)
    rows = connection.execute(
        select(CallCount.outcome, CallCount.call, func.sum(CallCount.count), last)
        .where(CallCount.window_start_ts >= since, CallCount.outcome.not_in(EXPECTED))
        .group_by(CallCount.outcome, CallCount.call)
        .order_by(last.desc(), CallCount.outcome)
    )
    return [LastError(kind, call, int(count), moment) for kind, call, count, moment in rows]
