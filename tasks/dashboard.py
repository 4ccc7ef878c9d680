"""The dashboard: an artifact of a standing key that shows the present and the last 24 hours, for people."""

from collections.abc import Sequence
from datetime import UTC, datetime

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from blocks.access import Access
from bouncer.alerts import AlertInForce
from bouncer.charts import columns, sparkline
from bouncer.health import Health
from bouncer.measuring import history
from bouncer.thresholds import Thresholds

__all__ = ["draw_dashboard"]

_HOURS = 24
_SLOTS = 48
_CHART_LINES = 5
_KEY = "dashboard"
_HISTORY = (
    "backlog_contacts",
    "oldest_waiting_seconds",
    "batches_in_flight",
    "settled_contacts_a_minute",
    "error_rate_permille",
    "rate_limit_percent",
    "response_p95_ms",
    "worker_failures_an_hour",
    "credits_left",
    "paused_seconds",
)

_Gone = dict[str, list[int | None]]


@task(name="draw-dashboard", task_run_name="draw dashboard", cache_policy=NO_CACHE, persist_result=False)
async def draw_dashboard(
    access: Access, health: Health, thresholds: Thresholds, alerts: Sequence[AlertInForce]
) -> None:
    """Publishes the dashboard as artifact ``dashboard``. Safe to run twice: the latest is the one that is shown.

    Args:
        access: The account and the database.
        health: What was measured.
        thresholds: What each figure stands beside.
        alerts: What is in force.
    """
    gone = await access.read(history, list(_HISTORY), hours=_HOURS, slots=_SLOTS)
    await acreate_markdown_artifact(
        _markdown(health, thresholds, alerts, gone), key=_KEY, description=f"bouncer-flows: {_headline(alerts)}"
    )


def _headline(alerts: Sequence[AlertInForce]) -> str:
    if not alerts:
        return "all is well"
    return f"{len(alerts)} {'alert' if len(alerts) == 1 else 'alerts'}: {', '.join(one.alert for one in alerts)}"


def _markdown(health: Health, thresholds: Thresholds, alerts: Sequence[AlertInForce], gone: _Gone) -> str:
    parts = [f"# {_headline(alerts).capitalize()}", "", f"Checked at {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."]
    parts += [f"- **{one.alert}** since {one.began_ts:%Y-%m-%d %H:%M} UTC: {one.message}" for one in alerts]
    parts += ["", *_switches(health), "", *_figures(health, thresholds, gone), "", *_settled(gone), "", *_calls(health)]
    return "\n".join(parts)


def _switches(health: Health) -> list[str]:
    state = health.account.state
    paused = (
        "Uploads are on"
        if state.paused_ts is None
        else f"**Paused** since {state.paused_ts:%Y-%m-%d %H:%M} UTC by {state.paused_by}: {state.paused_reason}"
    )
    lasts = health.credits_last_hours
    left = "credits not known" if state.credits is None else f"{state.credits:,} credits left"
    pace = "" if lasts is None else f", {lasts:,} h at the last hour's pace"
    breaker = "closed" if state.breaker_state == "closed" else f"**{state.breaker_state}**"
    trouble = [] if health.service.bouncer_trouble is None else [f"- **Bouncer**: {health.service.bouncer_trouble}"]
    return [f"- {paused} · circuit breaker {breaker} · {left}{pace}", *trouble]


def _figures(health: Health, thresholds: Thresholds, gone: _Gone) -> list[str]:
    queue, account, service = health.queue, health.account, health.service
    p95 = account.calls.p95_ms
    rows = [
        ("contacts waiting", f"{queue.backlog_contacts:,}", f"{thresholds.backlog_contacts:,}", "backlog_contacts"),
        (
            "oldest of them, h",
            f"{(queue.oldest_waiting_seconds or 0) / 3600:,.1f}",
            f"{thresholds.oldest_waiting_hours:g}",
            "oldest_waiting_seconds",
        ),
        ("batches in flight", f"{queue.batches_in_flight}", "", "batches_in_flight"),
        ("contacts settled a minute", f"{health.settled_a_minute:,}", "", "settled_contacts_a_minute"),
        (
            "errors, % of calls",
            f"{100 * account.calls.error_share:.1f}",
            f"{thresholds.error_rate_percent:g}",
            "error_rate_permille",
        ),
        (
            "rate-limit use, %",
            f"{account.rate_limit_percent}",
            f"{thresholds.rate_limit_percent:g}",
            "rate_limit_percent",
        ),
        (
            "response time p95, s",
            "-" if p95 is None else f"{p95 / 1000:.2f}",
            f"{thresholds.response_seconds:g}",
            "response_p95_ms",
        ),
        (
            "worker failures an hour",
            f"{service.worker_failures_an_hour}",
            f"{thresholds.worker_failures_an_hour}",
            "worker_failures_an_hour",
        ),
        (
            "paused, min",
            f"{(account.paused_seconds or 0) / 60:,.0f}",
            f"{thresholds.paused_minutes:g}",
            "paused_seconds",
        ),
        ("batches past their deadline", f"{queue.batches_overdue}", "0", None),
        ("dead letters to review", f"{queue.dead_letters}", "", None),
        ("batches held for a person", f"{queue.batches_held}", "", None),
        ("addresses perhaps paid twice", f"{queue.possible_double_payments:,}", "", None),
        ("runs that are late", f"{service.late_runs}", "", None),
        ("workers online", f"{service.workers_online}", "", None),
        ("database / Prefect answer in, ms", f"{service.database_ms} / {service.prefect_ms}", "", None),
        ("this check: memory MB / processor s", f"{service.run_memory_mb} / {service.run_cpu_ms / 1000:.1f}", "", None),
    ]
    return [
        f"## Now, and the last {_HOURS} hours",
        "",
        "| | now | threshold | in half hours, the latest at the right |",
        "|:---|---:|---:|:---|",
        *(
            f"| {what} | {now} | {threshold} | {f'`{sparkline(gone[name])}`' if name else ''} |"
            for what, now, threshold, name in rows
        ),
    ]


def _settled(gone: _Gone) -> list[str]:
    values = gone["settled_contacts_a_minute"]
    most = max((value for value in values if value is not None), default=0)
    lines = columns(values, height=_CHART_LINES)
    labels = [f"{most:,}", *[""] * (_CHART_LINES - 2), "0"]
    width = max(len(label) for label in labels)
    return [
        "## Contacts settled a minute",
        "",
        "```",
        *(f"{label:>{width}} │{line}" for label, line in zip(labels, lines, strict=True)),
        f"{'':>{width}} └{'─' * _SLOTS}",
        f"{'':>{width}}  {f'{_HOURS} h ago':<{_SLOTS - 3}}now",
        "```",
    ]


def _calls(health: Health) -> list[str]:
    def ms(value: int | None) -> str:
        return "-" if value is None else f"{value:,}"

    figures = [("all", health.account.calls), *health.account.by_call.items()]
    return [
        f"## Calls to Bouncer, last {health.window_minutes} minutes",
        "",
        "| call | requests | p50, ms | p95, ms | slowest, ms | errors |",
        "|:---|---:|---:|---:|---:|:---|",
        *(
            f"| {call} | {of.total:,} | {ms(of.p50_ms)} | {ms(of.p95_ms)} | {ms(of.max_ms)} | "
            f"{', '.join(f'{count} {kind}' for kind, count in of.errors.items()) or 'none'} |"
            for call, of in figures
        ),
    ]
