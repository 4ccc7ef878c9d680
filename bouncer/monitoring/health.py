"""Health as a check measures it: of the queue, an account, and the services, for each account."""

import enum
from dataclasses import dataclass, replace
from datetime import datetime

from bouncer.accounts.call_statistics import CallFigures
from bouncer.accounts.state import AccountState

__all__ = ["AccountHealth", "AccountLimits", "Health", "QueueHealth", "QueuedBatch", "Scope", "ServiceHealth"]


class Scope(enum.Enum):
    """Extent of what a figure is about."""

    ACCOUNT = enum.auto()
    LAYER = enum.auto()
    ALL = enum.auto()


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
class AccountLimits:
    """The limits that an account's block sets.

    Attributes:
        batches: Batches that may be in flight.
        requests_a_minute: Requests that may be sent in any 60 s.
        steady_a_minute: What of that the rate limit lets pass in the long run.
    """

    batches: int
    requests_a_minute: int
    steady_a_minute: int


@dataclass(frozen=True)
class AccountHealth:
    """Health of one account, shared by all workers, with the statistics of its calls.

    Attributes:
        state: Pause, breaker and credits.
        paused_seconds: For how long no upload may begin; None where it is not paused.
        requests_a_minute: In the present or the last minute, whichever had more.
        limits: The limits that its block sets.
        calls: Of the window, all together.
        by_call: Of the window, each call for itself.
    """

    state: AccountState
    paused_seconds: int | None
    requests_a_minute: int
    limits: AccountLimits
    calls: CallFigures
    by_call: dict[str, CallFigures]

    @property
    def rate_limit_percent(self) -> int:
        """Percentage of the rate limit in use."""
        return round(100 * self.requests_a_minute / self.limits.steady_a_minute)


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

    @property
    def credits_floor(self) -> int | None:
        """Credits that there should be here, beside those of the layer's other accounts; None where unknown."""
        if self.layer_credits is None:
            return None
        return max(0, self.queue.credits_needed - self.layer_credits + (self.account.state.credits or 0))

    @property
    def scopes(self) -> set[Scope]:
        """The scopes that this account speaks for."""
        found = {Scope.ACCOUNT: True, Scope.LAYER: self.leads_layer, Scope.ALL: self.leads}
        return {scope for scope, is_led in found.items() if is_led}

    def parts(self, label: str) -> dict[str, "Health"]:
        """The health by the calls of each ``call`` alone, or by the errors of each ``kind`` alone."""
        calls = self.account.calls
        by_kind = {kind: replace(calls, errors={kind: count}) for kind, count in calls.errors.items()}
        split = {"call": self.account.by_call, "kind": by_kind}.get(label, {})
        return {part: replace(self, account=replace(self.account, calls=of)) for part, of in split.items()}

    def kept_as(self, name: str) -> str:
        """The name that a figure of this account is kept under."""
        return name if self.leads else f"{name}@{self.account.state.account}"
