"""The dashboard: an artifact of a standing key that shows the present and the last 24 hours, for people."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from prefect import get_client, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort
from prefect.exceptions import ObjectNotFound

from blocks.access import Access
from bouncer.alerts import AlertInForce
from bouncer.charts import line_chart, sparkline
from bouncer.health import Health
from bouncer.measuring import history
from bouncer.thresholds import Thresholds

__all__ = ["draw_dashboard"]

_HOURS = 24
_SLOTS = 48
_SMALL, _LARGE = (200, 24), (720, 120)
_KEY = "dashboard"
_KEPT_VERSIONS = 60
"""An hour of them; the figures themselves are kept for longer, and ten of the pages are 100 kB."""
_SETTLED = "settled_contacts_a_minute"
_HISTORY = (
    "backlog_contacts",
    "oldest_waiting_seconds",
    "batches_in_flight",
    _SETTLED,
    "error_rate_permille",
    "rate_limit_percent",
    "response_p95_ms",
    "worker_failures_an_hour",
    "paused_seconds",
)

_Gone = dict[str, list[int | None]]


@task(name="draw-dashboard", task_run_name="draw dashboard", cache_policy=NO_CACHE, persist_result=False)
async def draw_dashboard(
    access: Access, healths: Sequence[Health], thresholds: Thresholds, alerts: Sequence[AlertInForce]
) -> None:
    """Publishes the dashboard as artifact ``dashboard``. Safe to run twice: the latest is the one that is shown.

    Args:
        access: The account and the database.
        healths: What was measured of each account; the charts are of the first.
        thresholds: What each figure stands beside.
        alerts: What is in force.
    """
    gone = await access.read(history, list(_HISTORY), hours=_HOURS, slots=_SLOTS)
    await acreate_markdown_artifact(
        _markdown(healths, thresholds, alerts, gone), key=_KEY, description=f"bouncer-flows: {_headline(alerts)}"
    )
    await _forget_old_versions()


async def _forget_old_versions() -> None:
    async with get_client() as client:
        old = await client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[_KEY])),
            sort=ArtifactSort.CREATED_DESC,
            offset=_KEPT_VERSIONS,
            limit=_KEPT_VERSIONS,
        )
        for version in old:
            with suppress(ObjectNotFound):
                await client.delete_artifact(version.id)


def _headline(alerts: Sequence[AlertInForce]) -> str:
    if not alerts:
        return "all is well"
    return f"{len(alerts)} {'alert' if len(alerts) == 1 else 'alerts'}: {', '.join(one.alert for one in alerts)}"


def _markdown(healths: Sequence[Health], thresholds: Thresholds, alerts: Sequence[AlertInForce], gone: _Gone) -> str:
    parts = [f"# {_headline(alerts).capitalize()}", "", f"Checked at {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.", ""]
    several, health = len(healths) > 1, healths[0]
    for known in alerts:
        account = f" ({known.account})" if several else ""
        parts.append(f"- **{known.alert}{account}** since {known.began_ts:%Y-%m-%d %H:%M} UTC: {known.message}")
    for one in healths:
        parts += _switches(one, named=several)
    parts += ["", *_figures(health, thresholds, gone), "", *_calls(health)]
    for one in healths[1:]:
        parts += ["", *_calls(one)]
    return "\n".join(parts)


def _switches(health: Health, *, named: bool) -> list[str]:
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
    account = f"Account {state.account}: " if named else ""
    return [f"- {account}{paused} · circuit breaker {breaker} · {left}{pace}", *trouble]


def _figures(health: Health, thresholds: Thresholds, gone: _Gone) -> list[str]:
    queue, account, service = health.queue, health.account, health.service
    p95 = account.calls.p95_ms
    charted = [
        ("contacts waiting", f"{queue.backlog_contacts:,}", thresholds.backlog_contacts, "backlog_contacts", 1),
        (
            "oldest contact not sent, h",
            f"{(queue.oldest_waiting_seconds or 0) / 3600:,.1f}",
            thresholds.oldest_waiting_hours,
            "oldest_waiting_seconds",
            3600,
        ),
        ("batches in flight", f"{queue.batches_in_flight}", None, "batches_in_flight", 1),
        (
            "errors, % of calls",
            f"{100 * account.calls.error_share:.1f}",
            thresholds.error_rate_percent,
            "error_rate_permille",
            10,
        ),
        ("rate-limit use, %", f"{account.rate_limit_percent}", thresholds.rate_limit_percent, "rate_limit_percent", 1),
        (
            "response time p95, s",
            "-" if p95 is None else f"{p95 / 1000:.2f}",
            thresholds.response_seconds,
            "response_p95_ms",
            1000,
        ),
        (
            "worker failures an hour",
            f"{service.worker_failures_an_hour}",
            thresholds.worker_failures_an_hour,
            "worker_failures_an_hour",
            1,
        ),
        ("paused, min", f"{(account.paused_seconds or 0) / 60:,.0f}", thresholds.paused_minutes, "paused_seconds", 60),
    ]
    others = [
        ("batches past their deadline", f"{queue.batches_overdue}"),
        ("batches held for a person", f"{queue.batches_held}"),
        ("dead letters to review", f"{queue.dead_letters}"),
        ("addresses perhaps paid twice", f"{queue.possible_double_payments:,}"),
        ("runs that are late", f"{service.late_runs}"),
        ("workers online", f"{service.workers_online}"),
        ("database / Prefect answer in, ms", f"{service.database_ms} / {service.prefect_ms}"),
        ("this check: memory, MB / processor, s", f"{service.run_memory_mb} / {service.run_cpu_ms / 1000:.1f}"),
    ]
    return [
        f"## Now, and the last {_HOURS} hours",
        "",
        "| | now | threshold | highest | the last 24 hours |",
        "|:---|---:|---:|---:|:---|",
        *(
            f"| {what} | {now} | {'' if threshold is None else f'{threshold:,g}'} | {_highest(gone[name], scale)} | "
            f"{_chart(gone[name], _SMALL, None if threshold is None else threshold * scale)} |"
            for what, now, threshold, name, scale in charted
        ),
        "",
        "## Contacts settled a minute",
        "",
        f"Now {health.settled_a_minute:,}, at most {_highest(gone[_SETTLED], 1)}.",
        "",
        _chart(gone[_SETTLED], _LARGE, None),
        "",
        "## To look after",
        "",
        "| | now |",
        "|:---|---:|",
        *(f"| {what} | {now} |" for what, now in others),
    ]


def _highest(values: Sequence[int | None], scale: int) -> str:
    most = max((value for value in values if value is not None), default=0) / scale
    return f"{most:,.0f}" if scale == 1 else f"{most:,.1f}"


def _chart(values: Sequence[int | None], size: tuple[int, int], threshold: float | None) -> str:
    # The text is for where pictures within the page are not shown.
    return f"![{sparkline(values)}]({line_chart(values, width=size[0], height=size[1], threshold=threshold)})"


def _calls(health: Health) -> list[str]:
    def ms(value: int | None) -> str:
        return "-" if value is None else f"{value:,}"

    figures = [("all", health.account.calls), *health.account.by_call.items()]
    return [
        f"## Calls to Bouncer with account {health.account.state.account}, last {health.window_minutes} minutes",
        "",
        "| call | requests | p50, ms | p95, ms | slowest, ms | errors |",
        "|:---|---:|---:|---:|---:|:---|",
        *(
            f"| {call} | {of.total:,} | {ms(of.p50_ms)} | {ms(of.p95_ms)} | {ms(of.max_ms)} | "
            f"{', '.join(f'{count} {kind}' for kind, count in of.errors.items()) or 'none'} |"
            for call, of in figures
        ),
    ]
