"""The screen of ``bouncer-flows status``: everything at a glance, in 80 columns."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from bouncer.installation import here
from bouncer.monitoring.charts import bar
from bouncer.monitoring.status import Counts, Limits, StatusReport, count_everything, take_stock
from bouncer.plurals import counted
from bouncer.storage.tables import Priority
from deployments.settings import Settings
from deployments.terminal.console import console

__all__ = ["StockTaker", "print_status", "render_status", "watch_status"]

WATCH_SECONDS = 2.0
_PATIENCE = 20
"""A count is repeated when so many times of what it took have passed: a twentieth of a processor, at most."""

_MOST_BATCHES = 15
_MOST_ERRORS = 5
_CHECK_IS_OLD_SECONDS = 300
_LABEL_WIDTH = 10
_LONGEST_NAME = 18
_LONGEST_LASTS_HOURS = 24 * 365
"""Credits that last for years need no mention."""


class StockTaker:
    """Takes stock again and again; what takes long to count is counted less often.

    Args:
        engine: Of the contacts database.
        settings: The limits, where no check has found others.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._counts: Counts | None = None
        self._due = 0.0

    def take(self) -> StatusReport:
        """Takes stock now."""
        began = time.monotonic()
        if self._counts is None or began >= self._due:
            self._counts = count_everything(self._engine)
            ended = time.monotonic()
            self._due = ended + _PATIENCE * (ended - began)
        return take_stock(
            self._engine,
            self._counts,
            most_batches=self._settings.max_concurrent_batches,
            most_requests_a_minute=self._settings.rate_limit_per_minute,
        )


def print_status(take: Callable[[], StatusReport]) -> None:
    """Prints the screen once."""
    with console(stderr=True).status("counting"):
        report = take()
    console().print(render_status(report))


def watch_status(take: Callable[[], StatusReport]) -> None:
    """Shows the screen and renews it, until Ctrl-C; where there is no terminal, prints one after the other."""
    terminal = console()
    try:
        if not terminal.is_terminal:
            while True:
                terminal.print(render_status(take()))
                time.sleep(WATCH_SECONDS)
        with Live(console=terminal, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                live.update(render_status(take(), terminal), refresh=True)
                time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return


def render_status(report: StatusReport, within: Console | None = None) -> RenderableType:
    """Draws the screen.

    Args:
        report: What to show.
        within: A terminal whose height the screen must fit, as far as that can be done; None for any height.
    """
    age = _age_of_check(report)
    top = Group(
        _headline(report, age),
        *(
            Text(
                f"ALERT {one.alert}{_of(one.account)} since {_moment(one.began_ts, report)}: {one.message}"
                f"{'' if age is None else f' ({age} ago)'}",
                "bold red",
            )
            for one in report.alerts
        ),
        Text(),
        _overview(report, age),
    )
    lists = [each for each in (_requests(report), _batches(report), _errors(report)) if each.count]
    if within is None:
        return Group(top, *(each.draw() for each in lists))
    room = within.height - len(within.render_lines(top)) - sum(_List.FRAME for _ in lists)
    return Group(top, *(each.draw(lines) for each, lines in zip(lists, _shared_out(room, lists), strict=True)))


@dataclass
class _List:
    # Rows under a heading, after an empty line; what does not fit is shown as a number.

    FRAME: ClassVar[int] = 2
    table: Table
    rows: Sequence[tuple[str, ...]]
    what: str
    not_listed: int = 0

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def lines(self) -> int:
        return self.count + (self.not_listed > 0)

    def draw(self, lines: int | None = None) -> RenderableType:
        shown = self.count if lines is None or lines >= self.lines else max(1, lines - 1)
        for row in self.rows[:shown]:
            self.table.add_row(*row)
        left = self.count - shown + self.not_listed
        return Group(Text(), self.table, *([Text(f"and {left:,} more {self.what}", "dim")] if left else []))


def _shared_out(room: int, lists: list[_List]) -> list[int]:
    # The short ones get what they need, the long ones share the rest.
    lines = [0] * len(lists)
    shortest_first = sorted(range(len(lists)), key=lambda number: lists[number].lines)
    for place, number in enumerate(shortest_first):
        lines[number] = min(lists[number].lines, max(0, room) // (len(lists) - place))
        room -= lines[number]
    return lines


def _of(account: str) -> str:
    return "" if account == "default" else f" of {account}"


def _moment(moment: datetime, report: StatusReport) -> str:
    # Without the day, what has been so since last week would look as if it had just begun.
    return f"{moment:%H:%M}" if moment.date() == report.taken_ts.date() else f"{moment:%Y-%m-%d %H:%M}"


def _age_of_check(report: StatusReport) -> str | None:
    # Of what the last check found; None where it is as good as the present, or there was none.
    if report.checked_ts is None:
        return None
    seconds = (report.taken_ts - report.checked_ts).total_seconds()
    if seconds <= _CHECK_IS_OLD_SECONDS:
        return None
    minutes = round(seconds / 60)
    if minutes < 2 * 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 2 * 24 * 60 else f"{minutes // (24 * 60)} d"


def _headline(report: StatusReport, age: str | None) -> Text:
    text = Text.assemble((here().title, "bold"), f"  {report.taken_ts:%Y-%m-%d %H:%M:%S} UTC")
    if report.checked_ts is None:
        text.append("  check-health has never run", "yellow")
    elif age is not None:
        text.append(f"  check-health last ran at {report.checked_ts:%Y-%m-%d %H:%M}", "yellow")
    elif not report.alerts and not report.troubles:
        text.append("  all is well", "green")
    if report.troubles:
        text.append(f"  not well: {', '.join(report.troubles)}", "bold yellow")
    return text


def _overview(report: StatusReport, age: str | None) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", width=_LABEL_WIDTH, no_wrap=True)
    table.add_column()
    contacts, batches = report.contacts, report.batches
    table.add_row(
        "Contacts",
        f"{counted(contacts.queued, 'waits', 'wait')} · {contacts.assigned:,} under way · "
        f"{contacts.completed:,} verified · {contacts.failed:,} failed"
        f"{f' · {contacts.cancelled:,} cancelled' if contacts.cancelled else ''}",
    )
    if report.verdicts:
        total = sum(report.verdicts.values())
        shares = (f"{count / total:.1%} {verdict}" for verdict, count in report.verdicts.items())
        table.add_row("Verdicts", " · ".join(shares))
    table.add_row("Waiting", " · ".join(_waiting(report)) or "nothing")
    if queued := _queued(report):
        table.add_row("Queued", queued)
    for limits in report.limits:
        table.add_row("Limits", _limits(limits, named=len(report.limits) > 1))
    for state in report.accounts:
        name = f"{state.account}: " if len(report.accounts) > 1 else ""
        paused = (
            Text("uploads on", "green")
            if state.paused_ts is None
            else Text(
                f"PAUSED since {_moment(state.paused_ts, report)} by {state.paused_by}: {state.paused_reason}",
                "bold red",
            )
        )
        is_closed = state.breaker_state == "closed"
        breaker = Text(f"breaker {state.breaker_state}", "green" if is_closed else "bold red")
        credits_left = "credits unknown" if state.credits is None else counted(state.credits, "credit")
        asked = "" if state.credits_ts is None else f" at {_moment(state.credits_ts, report)}"
        lasts = report.figures.get("credits_last_hours") if state.account == "default" and age is None else None
        pace = "" if lasts is None or lasts > _LONGEST_LASTS_HOURS else f", for {lasts:,} h"
        table.add_row("Account", Text.assemble(name, paused, " · ", breaker, " · ", credits_left, asked, pace))
    for cap in report.caps:
        reached = ", reached: its other contacts wait" if cap.is_reached else ""
        used = f"request {cap.request_id}: {cap.committed:,} of {counted(cap.max_credits, 'credit')}{reached}"
        table.add_row("Cap", Text(used, "bold red" if cap.is_reached else ""))
    speed = report.figures.get("settled_contacts_an_hour")
    if speed:
        table.add_row(
            "Speed",
            f"{counted(speed, 'contact')} settled in {'the last hour' if age is None else f'an hour, {age} ago'}",
        )
    if report.second_chances:
        table.add_row("Later", f"{counted(report.second_chances, 'contact')} without a clear verdict to be retried")
    table.add_row(
        "To review",
        f"dead letters {report.dead_letters:,} · held batches {batches.held:,} · "
        f"perhaps paid twice {batches.possible_double_payments:,}",
    )
    return table


def _waiting(report: StatusReport) -> list[str]:
    names = {int(priority): priority.name.lower() for priority in Priority}
    return [
        f"{one.contacts:,} {names.get(one.priority, f'priority {one.priority}')}"
        f"{'' if one.layer == 'basic' else f' ({one.layer})'}"
        for one in report.waiting
    ]


def _queued(report: StatusReport) -> str:
    queued = [one for one in report.in_flight if one.queued_ts is not None]
    if not queued:
        return ""
    longest = max(queued, key=lambda one: one.queued_seconds or 0)
    seconds = longest.queued_seconds or 0
    waited = f"{seconds // 60} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"
    since = "" if longest.queued_ts is None else _moment(longest.queued_ts, report)
    return f"{len(queued):,} at Bouncer, the longest for {waited}, since {since} (batch {longest.batch})"


def _limits(limits: Limits, *, named: bool) -> str:
    def use(used: int, most: int | None) -> str:
        return f"{used:,}" if most is None else f"{used:,}/{most:,}"

    return (
        f"{f'{limits.account}: ' if named else ''}batches {use(limits.batches, limits.most_batches)} · this minute: "
        f"requests {use(limits.requests_this_minute, limits.most_requests_a_minute)}, "
        f"uploads {use(limits.uploads_this_minute, limits.most_uploads_a_minute)}"
    )


def _requests(report: StatusReport) -> _List:
    table = _table("Request")
    table.add_column("name", no_wrap=True)
    for name in ("waiting", "under way", "verified", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("settled", no_wrap=True)
    rows = []
    for one in report.requests:
        finished = one.completed + one.failed + one.cancelled
        settled = finished / (finished + one.queued + one.assigned)
        row = (
            f"{one.request_id}",
            _shortened(one.name or ""),
            *(f"{count:,}" for count in (one.queued, one.assigned, one.completed, one.failed)),
            f"{bar(settled, width=6)} {settled:4.0%}",
        )
        rows.append(row)
    return _List(table, rows, "requests", report.more_requests)


def _batches(report: StatusReport) -> _List:
    table = _table("Batch")
    table.add_column("request", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("progress", no_wrap=True)
    table.add_column("verified", justify="right", no_wrap=True)
    table.add_column("expected end", no_wrap=True)
    rows = []
    for one in report.in_flight[:_MOST_BATCHES]:
        share = one.processed / one.quantity if one.quantity else 0.0
        end = one.expected_end_ts
        minutes = 0 if end is None else max(0, round((end - report.taken_ts).total_seconds() / 60))
        row = (
            f"{one.batch}",
            f"{one.request_id}",
            one.state.replace(" at Bouncer", " there"),
            f"{bar(share, width=6)} {share:4.0%}" if one.seconds is not None else "",
            f"{one.processed:,} of {one.quantity:,}",
            "" if end is None else f"{end:%H:%M}, {minutes} min" if minutes else f"{end:%H:%M}, now",
        )
        rows.append(row)
    return _List(table, rows, "batches", max(0, len(report.in_flight) - _MOST_BATCHES))


def _errors(report: StatusReport) -> _List:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("Errors in the last hour", no_wrap=True)
    table.add_column("call", no_wrap=True)
    table.add_column("how often", justify="right")
    table.add_column("last at", no_wrap=True)
    rows = [(one.kind, one.call, f"{one.count:,}", f"{one.last_ts:%H:%M}") for one in report.last_errors[:_MOST_ERRORS]]
    return _List(table, rows, "kinds", max(0, len(report.last_errors) - _MOST_ERRORS))


def _table(first: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(first, justify="right", no_wrap=True)
    return table


def _shortened(name: str) -> str:
    # Rich would shorten the figures too, to make room for a long name.
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
