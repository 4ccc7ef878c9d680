"""The table of figures by which people see whether all is well: each with its unit, value, threshold and alert."""

from collections.abc import Callable
from dataclasses import dataclass

from bouncer.monitoring.health import Health, Scope
from bouncer.monitoring.thresholds import Thresholds
from bouncer.plurals import counted

__all__ = ["FIGURES", "Figure", "Row", "kept_figures"]

_LARGEST_INT = 2**31 - 1
_BREAKER = {"closed": 0, "half-open": 1, "open": 2}


@dataclass(frozen=True)
class Row:
    """Row of the dashboard that a figure has.

    Attributes:
        title: The row's title; there is no row where it is empty.
        threshold: The value beyond which something is wrong, or the field of ``Thresholds`` that has it.
        divisor: How many of the unit in which the figure is kept make one of the unit of title and threshold.
        decimals: With how many decimals people read it.
    """

    title: str = ""
    threshold: str | int | None = None
    divisor: int = 1
    decimals: int = 0


@dataclass(frozen=True)
class Figure:
    """A figure of health, with its row of the dashboard and the alert that begins beyond its threshold.

    Attributes:
        name: The name that it is kept under, which ends with its unit.
        help: Its meaning.
        value: Takes it from the health; None where nobody knows it.
        part: ``call`` or ``kind`` where it is kept for each call or kind of error too, behind its name and a dot.
        row: Its row of the dashboard.
        floor: Takes the value from the health under which something is wrong, in place of a threshold.
        alert: The name of the alert; there is none where it is empty.
        message: The alert's message, a template of ``health``, ``value``, ``counted`` and ``limit``.
        things: The noun for one and for any other number, with which ``counted`` has the value.
        calm: The message where the value is 0, or at its floor.
        scope: What it is about. Figures of all are kept once, the others for each account.
        judged: What its alert is about, where that is not its own scope.
    """

    name: str
    help: str
    value: Callable[[Health], float | None]
    part: str = ""
    row: Row = Row()
    floor: Callable[[Health], int | None] | None = None
    alert: str = ""
    message: str = ""
    things: tuple[str, str] = ("", "")
    calm: str = ""
    scope: Scope = Scope.ACCOUNT
    judged: Scope | None = None

    def text(self, health: Health) -> str:
        """Its value for a person."""
        value = self.value(health)
        return "-" if value is None else f"{value / self.row.divisor:,.{self.row.decimals}f}"

    def is_judged(self, health: Health) -> bool:
        """Tells whether its threshold counts for this account."""
        return (self.judged or self.scope) in health.scopes

    def limit(self, health: Health, thresholds: Thresholds) -> float | None:
        """The threshold or floor, in the unit in which people read it; None where there is none."""
        if self.floor:
            return self.floor(health) if self.is_judged(health) else None
        limit = self.row.threshold
        return getattr(thresholds, limit) if isinstance(limit, str) else limit

    def limit_text(self, health: Health, thresholds: Thresholds) -> str:
        """The threshold or floor for a person; empty where there is none."""
        limit = self.limit(health, thresholds)
        return "" if limit is None else f"{limit:,.0f}" if limit == int(limit) else f"{limit:,g}"

    def is_crossed(self, health: Health, thresholds: Thresholds) -> bool | None:
        """Tells whether it is beyond its threshold; None where that is unknown."""
        value, limit = self.value(health), self.limit(health, thresholds)
        if self.floor:
            return None if value is None or limit is None else value < limit
        is_beyond = (value or 0) / self.row.divisor > (limit or 0)
        # A few calls beyond the threshold say too little to begin an alert, and that it is not over yet; a few within
        # it end one, or an idle account, of which only the credits are asked, would never be well again.
        return None if is_beyond and self.part and health.account.calls.total < thresholds.min_calls else is_beyond

    def says(self, health: Health, thresholds: Thresholds) -> str:
        """The message of its alert."""
        value = self.value(health) or 0
        if self.calm and value == (self.floor(health) if self.floor else 0):
            return self.calm
        limit = self.limit_text(health, thresholds)
        shown = value / self.row.divisor
        held = counted(round(shown), *self.things)
        return self.message.format(health=health, value=shown, counted=held, limit=limit)


def kept_figures(health: Health) -> dict[str, int]:
    """Every figure by the name that it is kept under, with its unit.

    Those that nobody knows are left out. Those of an account that does not lead have ``@`` and its name behind
    them, and are its own ones alone.
    """
    return {
        health.kept_as(name): min(round(value), _LARGEST_INT)
        for figure in FIGURES.values()
        if health.leads or figure.scope is not Scope.ALL
        for name, of in (
            (figure.name, health),
            *((f"{figure.name}.{part}", of_part) for part, of_part in health.parts(figure.part).items()),
        )
        if (value := figure.value(of)) is not None
    }


_TABLE = (
    # The first one that a check writes: the others are found behind it.
    Figure(
        "backlog_contacts",
        "contacts that wait in the queue",
        lambda of: of.queue.backlog_contacts,
        row=Row("contacts waiting", "backlog_contacts"),
        alert="backlog",
        message="{counted} (threshold {limit})",
        things=("contact waits", "contacts wait"),
        scope=Scope.LAYER,
    ),
    Figure(
        "oldest_waiting_seconds",
        "the age of the oldest contact in the queue, or in a batch that is not sent or is held",
        lambda of: of.queue.oldest_waiting_seconds or 0,
        row=Row("oldest contact not sent, h", "oldest_waiting_hours", 3600, 1),
        alert="waiting",
        message="the oldest contact has waited {value:.1f} h (threshold {limit} h)",
        scope=Scope.LAYER,
    ),
    Figure(
        "credits_left",
        "credits of the account, as Bouncer last reported",
        lambda of: of.account.state.credits,
        row=Row("credits left"),
        floor=lambda of: of.credits_floor,
        alert="credits",
        message="credits left: {health.layer_credits:,}, for {health.queue.credits_needed:,} that wait; "
        "top up at app.usebouncer.com",
        judged=Scope.LAYER,
    ),
    Figure(
        "credits_last_hours", "hours that the credits last at the last hour's pace", lambda of: of.credits_last_hours
    ),
    Figure(
        "batches_under_way", "batches that are not settled, but for held ones", lambda of: of.queue.batches_under_way
    ),
    Figure(
        "batches_in_flight",
        "batches that Bouncer has, or may have",
        lambda of: of.queue.batches_in_flight,
        row=Row("batches in flight"),
    ),
    Figure(
        "queued_at_bouncer_seconds",
        "the time for which the longest-waiting batch has been queued at Bouncer",
        lambda of: of.queue.longest_queued.seconds if of.queue.longest_queued else 0,
        row=Row("longest queued at Bouncer, h", "queued_at_bouncer_hours", 3600, 1),
        alert="queued",
        message="batch {health.queue.longest_queued.batch} is queued at Bouncer for {value:.1f} h, since "
        "{health.queue.longest_queued.since_ts:%Y-%m-%d %H:%M} UTC (threshold {limit} h); "
        "app.usebouncer.com shows whose list is ahead; it is paid for and will run, so do not send it again",
        calm="no batch is queued at Bouncer",
    ),
    Figure(
        "batches_overdue",
        "batches that run at Bouncer, ten minutes beyond their deadline",
        lambda of: of.queue.batches_overdue,
        row=Row("batches past their deadline", 0),
        alert="deadline",
        message="{counted}; does anything run?",
        things=("batch runs at Bouncer beyond its deadline", "batches run at Bouncer beyond their deadline"),
    ),
    Figure(
        "batches_held",
        "batches that wait for a person",
        lambda of: of.queue.batches_held,
        row=Row("batches held for a person", 0),
        alert="held",
        message="{counted}; bouncer-flows requeue --held sends again, which may be paid twice",
        things=(
            "batch waits for a person, since the answer to its upload was lost",
            "batches wait for a person, since the answers to their uploads were lost",
        ),
    ),
    Figure(
        "settled_contacts_a_minute",
        "addresses of the batches that were loaded in the window, a minute",
        lambda of: of.settled_a_minute,
    ),
    Figure(
        "settled_contacts_an_hour",
        "addresses of the batches that were loaded in the last hour",
        lambda of: of.queue.settled_an_hour,
    ),
    Figure(
        "error_rate_permille",
        "calls of the window that brought errors; each kind has a figure of its own",
        lambda of: 1000 * of.account.calls.error_share,
        part="kind",
        row=Row("errors, % of calls", "error_rate_percent", 10, 1),
        alert="error-rate",
        message="{health.account.calls.error_share:.1%} of {health.account.calls.total:,} calls in "
        "{health.window_minutes} min brought errors{health.account.calls.worst} (threshold {limit} %)",
    ),
    Figure(
        "requests_a_minute",
        "requests in this or the last minute, whichever had more",
        lambda of: of.account.requests_a_minute,
    ),
    Figure(
        "rate_limit_percent",
        "requests a minute, of what the rate limit lets pass in the long run",
        lambda of: of.account.rate_limit_percent,
        row=Row("rate-limit use, %", "rate_limit_percent"),
        alert="rate-limit",
        message="{health.account.requests_a_minute} requests in a minute, {value:.0f} % of what the limit lets pass "
        "(threshold {limit} %)",
    ),
    Figure(
        "response_p50_ms",
        "half of the calls of the window took at most so long; each call has a figure of its own",
        lambda of: of.account.calls.p50_ms,
        part="call",
    ),
    Figure(
        "response_p95_ms",
        "95 of 100 calls took at most so long",
        lambda of: of.account.calls.p95_ms,
        part="call",
        row=Row("response time p95, s", "response_seconds", 1000, 2),
        alert="response-time",
        message="Bouncer takes up to {value:.1f} s for 95 of 100 calls (threshold {limit} s)",
    ),
    Figure("response_max_ms", "the slowest call took so long", lambda of: of.account.calls.max_ms, part="call"),
    Figure(
        "paused_seconds",
        "seconds for which uploads have been paused",
        lambda of: of.account.paused_seconds or 0,
        row=Row("paused, min", "paused_minutes", 60),
        alert="paused",
        message="paused for {value:.0f} min by {health.account.state.paused_by}: {health.account.state.paused_reason} "
        "(threshold {limit} min)",
        calm="not paused",
    ),
    Figure("breaker_state", "0 closed, 1 half-open, 2 open", lambda of: _BREAKER[of.account.state.breaker_state]),
    Figure(
        "bouncer_usable",
        "1, or 0 where the key is refused or Bouncer is away",
        lambda of: of.service.bouncer_trouble is None if of.service.bouncer_known else None,
        floor=lambda _: 1,
        alert="bouncer",
        message="{health.service.bouncer_trouble}",
        calm="Bouncer answers",
    ),
    Figure("limit_batches", "batches that the account may have in flight", lambda of: of.account.limits.batches),
    Figure(
        "limit_requests_a_minute",
        "requests that the account may send in any 60 s",
        lambda of: of.account.limits.requests_a_minute,
    ),
    Figure(
        "worker_failures_an_hour",
        "runs that failed or crashed within an hour",
        lambda of: of.service.worker_failures_an_hour,
        row=Row("worker failures an hour", "worker_failures_an_hour"),
        alert="worker-failures",
        message="{counted} failed or crashed within an hour (threshold {limit}); the Prefect UI shows why",
        things=("run", "runs"),
        scope=Scope.ALL,
    ),
    Figure(
        "database_expected",
        "1, or 0 where the contacts database is not the one of the last run",
        lambda of: of.service.same_database,
        floor=lambda _: 1,
        alert="database",
        message="the contacts database is not the one of the last run; bouncer-flows setup --yes has it so",
        calm="the contacts database is the one of the last run",
        scope=Scope.ALL,
    ),
    Figure("late_runs", "runs that should have begun and have not", lambda of: of.service.late_runs, scope=Scope.ALL),
    Figure("workers_online", "workers of the work pool", lambda of: of.service.workers_online, scope=Scope.ALL),
    Figure(
        "dead_letters", "failed batches that nobody has reviewed", lambda of: of.queue.dead_letters, scope=Scope.ALL
    ),
    Figure(
        "possible_double_payments",
        "addresses that may have been charged twice since installation",
        lambda of: of.queue.possible_double_payments,
        scope=Scope.ALL,
    ),
    Figure("database_ms", "time that the database takes to answer", lambda of: of.service.database_ms, scope=Scope.ALL),
    Figure(
        "prefect_ms", "time that the Prefect server takes to answer", lambda of: of.service.prefect_ms, scope=Scope.ALL
    ),
    Figure(
        "run_memory_mb", "peak memory of the check's own process", lambda of: of.service.run_memory_mb, scope=Scope.ALL
    ),
    Figure(
        "run_cpu_ms", "processor time of the check's own process", lambda of: of.service.run_cpu_ms, scope=Scope.ALL
    ),
)
FIGURES = {figure.name: figure for figure in _TABLE}
"""Each figure by the name that it is kept under, less any part behind a dot."""
