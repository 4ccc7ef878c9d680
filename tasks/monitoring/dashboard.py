"""The dashboard: an artifact of a standing key that shows the present and the last 24 hours, for people."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from blocks.access import Access
from bouncer.monitoring.alerts import AlertInForce
from bouncer.monitoring.charts import line_chart, sparkline
from bouncer.monitoring.figures import FIGURES, Figure
from bouncer.monitoring.health import Health
from bouncer.monitoring.measurement import history
from bouncer.monitoring.thresholds import Thresholds
from bouncer.plurals import counted
from bouncer.safe_text import in_markdown
from tasks.running.standing_artifacts import Published, publish_changed

__all__ = ["draw_dashboard"]

_HOURS = 24
_SLOTS = 48
_SMALL, _LARGE = (200, 24), (720, 120)
_KEY = "dashboard"
_OLDEST = timedelta(hours=1)
_FLEETING = re.compile(r"Drawn at |\| database / Prefect answer|\| this check|\| \w+ \|( [\d,-]+ \|){4} none \|$")
"""Lines that are otherwise at each check, such as calls without errors, which it makes itself."""
_PICTURE = re.compile(r"!\[[^]]*\]\([^)]*\)")
"""Curves, which move with the time; like the lines above, they are not worth another version by themselves."""
_SETTLED = FIGURES["settled_contacts_a_minute"]
_ROWS = [figure for figure in FIGURES.values() if figure.row.title]

_Gone = dict[str, list[int | None]]


async def draw_dashboard(
    access: Access, healths: Sequence[Health], thresholds: Thresholds, alerts: Sequence[AlertInForce]
) -> Published:
    """Publishes the dashboard as artifact ``dashboard``, where it has changed or is an hour old. Safe to run twice.

    Args:
        access: The account and the database.
        healths: What was measured of each account.
        thresholds: What each figure stands beside.
        alerts: What is in force.
    """
    names = [one.kept_as(name) for one in healths for name in (*(figure.name for figure in _ROWS), _SETTLED.name)]
    gone = await history(access, names, hours=_HOURS, slots=_SLOTS)
    text = _markdown(healths, thresholds, alerts, gone)
    return await publish_changed(_KEY, text, f"bouncer-flows: {_headline(alerts)}", lasting=_lasting, oldest=_OLDEST)


def _lasting(text: str) -> list[str]:
    return [_PICTURE.sub("", line) for line in text.splitlines() if not _FLEETING.match(line)]


def _headline(alerts: Sequence[AlertInForce]) -> str:
    if not alerts:
        return "all is well"
    return f"{len(alerts)} {'alert' if len(alerts) == 1 else 'alerts'}: {', '.join(one.alert for one in alerts)}"


def _markdown(healths: Sequence[Health], thresholds: Thresholds, alerts: Sequence[AlertInForce], gone: _Gone) -> str:
    parts = [f"# {_headline(alerts).capitalize()}", "", f"Drawn at {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.", ""]
    several = len(healths) > 1
    for known in alerts:
        account = f" ({known.account})" if several else ""
        parts.append(
            f"- **{known.alert}{account}** since {known.began_ts:%Y-%m-%d %H:%M} UTC: {in_markdown(known.message)}"
        )
    for one in healths:
        parts += _switches(one, named=several)
    for one in healths:
        parts += ["", *_figures(one, thresholds, gone, named=several)]
    parts += ["", *_to_look_after(healths[0])]
    for one in healths:
        parts += ["", *_calls(one)]
    return "\n".join(parts)


def _switches(health: Health, *, named: bool) -> list[str]:
    state = health.account.state
    paused = (
        "Uploads are on"
        if state.paused_ts is None
        else f"**Paused** since {state.paused_ts:%Y-%m-%d %H:%M} UTC by {in_markdown(state.paused_by or '')}: "
        f"{in_markdown(state.paused_reason or '')}"
    )
    lasts = health.credits_last_hours
    left = "credits not known" if state.credits is None else f"{counted(state.credits, 'credit')} left"
    pace = "" if lasts is None else f", {lasts:,} h at the last hour's pace"
    breaker = "closed" if state.breaker_state == "closed" else f"**{state.breaker_state}**"
    trouble = (
        []
        if health.service.bouncer_trouble is None
        else [f"- **Bouncer**: {in_markdown(health.service.bouncer_trouble)}"]
    )
    account = f"Account {state.account}: " if named else ""
    return [f"- {account}{paused} · circuit breaker {breaker} · {left}{pace}", *trouble]


def _figures(health: Health, thresholds: Thresholds, gone: _Gone, *, named: bool) -> list[str]:
    account = f" of account {health.account.state.account}" if named else ""
    settled = gone[health.kept_as(_SETTLED.name)]
    return [
        f"## Now, and the last {_HOURS} hours{account}",
        "",
        "| | now | threshold | highest | the last 24 hours |",
        "|:---|---:|---:|---:|:---|",
        *(_row(figure, health, thresholds, gone) for figure in _ROWS if figure.scope in health.scopes),
        "",
        f"## Contacts settled a minute{account}",
        "",
        f"Now {_SETTLED.text(health)}, at most {_highest(settled)}.",
        "",
        _chart(settled, _LARGE, None),
    ]


def _row(figure: Figure, health: Health, thresholds: Thresholds, gone: _Gone) -> str:
    values, limit = gone[health.kept_as(figure.name)], figure.limit(health, thresholds)
    line = None if limit is None else limit * figure.row.divisor
    at_least = "at least " if figure.floor and limit is not None else ""
    return (
        f"| {figure.row.title} | {figure.text(health)} | {at_least}{figure.limit_text(health, thresholds)} | "
        f"{_highest(values, figure.row.divisor)} | {_chart(values, _SMALL, line)} |"
    )


def _to_look_after(health: Health) -> list[str]:
    # Of what all accounts share.
    queue, service = health.queue, health.service
    others = [
        ("dead letters to review", f"{queue.dead_letters}"),
        ("addresses perhaps paid twice", f"{queue.possible_double_payments:,}"),
        ("runs that are late", f"{service.late_runs}"),
        ("workers online", f"{service.workers_online}"),
        ("database / Prefect answer in, ms", f"{service.database_ms} / {service.prefect_ms}"),
        ("this check: memory, MB / processor, s", f"{service.run_memory_mb} / {service.run_cpu_ms / 1000:.1f}"),
    ]
    return ["## To look after", "", "| | now |", "|:---|---:|", *(f"| {what} | {now} |" for what, now in others)]


def _highest(values: Sequence[int | None], divisor: int = 1) -> str:
    most = max((value for value in values if value is not None), default=0) / divisor
    return f"{most:,.0f}" if divisor == 1 else f"{most:,.1f}"


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
