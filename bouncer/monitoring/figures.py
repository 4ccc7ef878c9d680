"""The figures by which people see whether all is well, and the names and units under which they are kept."""

from dataclasses import dataclass
from datetime import datetime

from bouncer.accounts.call_statistics import CallFigures
from bouncer.accounts.state import AccountState

__all__ = ["FIGURES", "SHARED", "AccountHealth", "Health", "QueueHealth", "QueuedBatch", "ServiceHealth"]

FIGURES = {
    "backlog_contacts": "contacts that wait in the queue",
    "oldest_waiting_seconds": "the age of the oldest contact in the queue, or in a batch that is not sent or is held",
    "batches_under_way": "batches that are not settled, but for held ones",
    "batches_in_flight": "batches that Bouncer has, or may have",
    "batches_held": "batches that wait for a person",
    "queued_at_bouncer_seconds": "the time for which the longest-waiting batch has been queued at Bouncer",
    "batches_overdue": "batches that run at Bouncer, ten minutes beyond their deadline",
    "settled_contacts_a_minute": "addresses of the batches that were loaded in the window, a minute",
    "settled_contacts_an_hour": "addresses of the batches that were loaded in the last hour",
    "dead_letters": "failed batches that nobody has reviewed",
    "possible_double_payments": "addresses that may have been charged twice since installation",
    "paused_seconds": "seconds for which uploads have been paused",
    "breaker_state": "0 closed, 1 half-open, 2 open",
    "credits_left": "credits of the account, as Bouncer last reported",
    "credits_last_hours": "hours that the credits last at the last hour's pace",
    "requests_a_minute": "requests in this or the last minute, whichever had more",
    "rate_limit_percent": "requests a minute, of what the rate limit lets pass in the long run",
    "error_rate_permille": "calls of the window that brought errors; each kind has a figure of its own",
    "response_p50_ms": "half of the calls of the window took at most so long; each call has a figure of its own",
    "response_p95_ms": "95 of 100 calls took at most so long",
    "response_max_ms": "the slowest call took so long",
    "database_ms": "time that the database takes to answer",
    "prefect_ms": "time that the Prefect server takes to answer",
    "bouncer_usable": "1, or 0 where the key is refused or Bouncer is away",
    "worker_failures_an_hour": "runs that failed or crashed within an hour",
    "late_runs": "runs that should have begun and have not",
    "workers_online": "workers of the work pool",
    "run_memory_mb": "peak memory of the check's own process",
    "run_cpu_ms": "processor time of the check's own process",
    "limit_batches": "batches that the account may have in flight",
    "limit_requests_a_minute": "requests that the account may send in any 60 s",
}
"""Meaning of each figure, by the name that it is kept under, less any part behind a dot."""

SHARED = frozenset(
    {
        "database_ms",
        "dead_letters",
        "late_runs",
        "possible_double_payments",
        "prefect_ms",
        "run_cpu_ms",
        "run_memory_mb",
        "worker_failures_an_hour",
        "workers_online",
    }
)
"""Figures that are of no account in particular."""

_LARGEST_INT = 2**31 - 1
_BREAKER = {"closed": 0, "half-open": 1, "open": 2}


@dataclass(frozen=True)
class QueuedBatch:
    """A batch that is queued at Bouncer.

    Attributes:
        batch: Its row in ``Bouncer_Batches``.
        since_ts: When Bouncer took it.
        seconds: How long ago that is.
    """

    batch: int
    since_ts: datetime
    seconds: int


@dataclass(frozen=True)
class QueueHealth:
    """The queue and the batches of one account.

    Attributes:
        backlog_contacts: Contacts that wait in the queue; a number beyond a million may be ten minutes old.
        oldest_waiting_seconds: The age of the oldest contact in the queue, or in a batch that is not sent or is held;
            None where there is none.
        batches_under_way: Batches that are not settled.
        batches_in_flight: Those of them that Bouncer has, or may have.
        batches_held: Those that wait for a person.
        batches_overdue: Those that Bouncer runs, or may have, without progress for longer than their deadline.
        longest_queued: The batch that has been queued at Bouncer the longest; None where none is.
        unsent_contacts: Addresses in batches that are not uploaded yet.
        settled_in_window: Addresses that came back with loaded batches in the window.
        settled_an_hour: Addresses that came back with batches loaded in the last hour. Contacts settled at no cost
            count neither here nor in the window.
        credits_an_hour: Credits that those batches cost; their addresses where Bouncer did not tell.
        dead_letters: Failed batches that nobody has reviewed.
        possible_double_payments: Addresses that may have been charged twice since installation.
    """

    backlog_contacts: int
    oldest_waiting_seconds: int | None
    batches_under_way: int
    batches_in_flight: int
    batches_held: int
    batches_overdue: int
    longest_queued: QueuedBatch | None
    unsent_contacts: int
    settled_in_window: int
    settled_an_hour: int
    credits_an_hour: int
    dead_letters: int
    possible_double_payments: int

    @property
    def credits_needed(self) -> int:
        """Credits that there should be, lest they run out before the queue is empty."""
        return self.backlog_contacts + self.unsent_contacts


@dataclass(frozen=True)
class AccountHealth:
    """Health of one account, shared by all workers, with the statistics of its calls.

    Attributes:
        state: Pause, breaker and credits.
        paused_seconds: For how long no upload may begin; None where it is not paused.
        requests_a_minute: In the present or the last minute, whichever had more.
        limit_a_minute: What the rate limit lets pass in the long run.
        calls: Of the window, all together.
        by_call: Of the window, each call for itself.
    """

    state: AccountState
    paused_seconds: int | None
    requests_a_minute: int
    limit_a_minute: int
    calls: CallFigures
    by_call: dict[str, CallFigures]

    @property
    def rate_limit_percent(self) -> int:
        """Percentage of the rate limit in use."""
        return round(100 * self.requests_a_minute / self.limit_a_minute)


@dataclass(frozen=True)
class ServiceHealth:
    """Findings of the check itself, from asking each service.

    Attributes:
        database_ms: Milliseconds that the database takes to answer the simplest question.
        prefect_ms: Milliseconds that the Prefect server takes to answer.
        bouncer_trouble: Why Bouncer cannot be used, or None.
        bouncer_known: Whether Bouncer has told, or refused to tell, anything recently.
        worker_failures_an_hour: Runs of this project's flows that failed or crashed in the last hour.
        late_runs: Runs that should have begun and have not.
        workers_online: Workers of the work pool; 0 where runs are served without one.
        run_memory_mb: The most memory that the check's own process has had.
        run_cpu_ms: The processor time that it has used.
        same_database: Whether the database is the one of the last run.
    """

    database_ms: int
    prefect_ms: int
    bouncer_trouble: str | None
    bouncer_known: bool
    worker_failures_an_hour: int
    late_runs: int
    workers_online: int
    run_memory_mb: int
    run_cpu_ms: int
    same_database: bool = True


@dataclass(frozen=True)
class Health:
    """Everything that one check has measured.

    Attributes:
        window_minutes: Over how many minutes rates are taken.
        leads: Whether this is the account that speaks for what all share: the runs, the servers, the dead letters.
        leads_layer: Whether it speaks for the accounts of its layer, for which the same contacts wait.
        layer_credits: The credits of all accounts of its layer; None where one of them is not known.
    """

    queue: QueueHealth
    account: AccountHealth
    service: ServiceHealth
    window_minutes: int
    leads: bool = True
    leads_layer: bool = True
    layer_credits: int | None = None

    @property
    def settled_a_minute(self) -> int:
        """Addresses that came back a minute, in the window."""
        return round(self.queue.settled_in_window / self.window_minutes)

    @property
    def credits_last_hours(self) -> int | None:
        """Hours that the credits last at the last hour's pace; None where that is unknown."""
        if self.account.state.credits is None or not self.queue.credits_an_hour:
            return None
        return self.account.state.credits // self.queue.credits_an_hour

    def metrics(self) -> dict[str, int]:
        """Every figure by the name that it is kept under, with its unit.

        Those that nobody knows are left out. Those of an account that does not lead have ``@`` and its name behind
        them, and are its own ones alone.
        """
        figures = {name: min(value, _LARGEST_INT) for name, value in self._figures().items() if value is not None}
        return {self.kept_as(name): value for name, value in figures.items() if self.leads or name not in SHARED}

    def kept_as(self, name: str) -> str:
        """The name that a figure of this account is kept under."""
        return name if self.leads else f"{name}@{self.account.state.account}"

    def _figures(self) -> dict[str, int | None]:
        queue, account, service = self.queue, self.account, self.service
        figures: dict[str, int | None] = {
            "backlog_contacts": queue.backlog_contacts,
            "oldest_waiting_seconds": queue.oldest_waiting_seconds or 0,
            "batches_under_way": queue.batches_under_way,
            "batches_in_flight": queue.batches_in_flight,
            "batches_held": queue.batches_held,
            "queued_at_bouncer_seconds": queue.longest_queued.seconds if queue.longest_queued else 0,
            "batches_overdue": queue.batches_overdue,
            "settled_contacts_a_minute": self.settled_a_minute,
            "settled_contacts_an_hour": queue.settled_an_hour,
            "dead_letters": queue.dead_letters,
            "possible_double_payments": queue.possible_double_payments,
            "paused_seconds": account.paused_seconds or 0,
            "breaker_state": _BREAKER[account.state.breaker_state],
            "credits_left": account.state.credits,
            "credits_last_hours": self.credits_last_hours,
            "requests_a_minute": account.requests_a_minute,
            "rate_limit_percent": account.rate_limit_percent,
            "error_rate_permille": _permille(sum(account.calls.errors.values()), account.calls.total),
            "database_ms": service.database_ms,
            "prefect_ms": service.prefect_ms,
            "bouncer_usable": int(service.bouncer_trouble is None) if service.bouncer_known else None,
            "worker_failures_an_hour": service.worker_failures_an_hour,
            "late_runs": service.late_runs,
            "workers_online": service.workers_online,
            "run_memory_mb": service.run_memory_mb,
            "run_cpu_ms": service.run_cpu_ms,
        }
        for kind, count in account.calls.errors.items():
            figures[f"error_rate_permille.{kind}"] = _permille(count, account.calls.total)
        for call, of_call in (("", account.calls), *((f".{call}", of) for call, of in account.by_call.items())):
            figures[f"response_p50_ms{call}"] = of_call.p50_ms
            figures[f"response_p95_ms{call}"] = of_call.p95_ms
            figures[f"response_max_ms{call}"] = of_call.max_ms
        return figures


def _permille(part: int, whole: int) -> int:
    return round(1000 * part / whole) if whole else 0
