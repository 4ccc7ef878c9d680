"""The status screen: everything at a glance in 80 columns, and the same for programs."""

import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import fields, is_dataclass
from datetime import timedelta
from fcntl import ioctl
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from rich.console import Console
from sqlalchemy import Engine, insert, update

from bouncer.accounts import state as account_state
from bouncer.accounts.call_statistics import Call, CallNote, store_notes
from bouncer.monitoring.alerts import Judgement, settle
from bouncer.monitoring.measurement import record_metrics
from bouncer.monitoring.status import StatusReport, count_everything, take_stock
from bouncer.storage.dialects import database_now
from bouncer.storage.engine import read
from bouncer.storage.tables import Account, Alert, Batch, BatchStatus, HealthMetric, QueuedContact, QueueStatus, Request
from deployments.settings import Settings
from deployments.terminal.status_screen import StockTaker, render_status
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.contacts import addresses, queue
from tests.deployments.running_commands import clean_environment, run

_PROJECT = Path(__file__).resolve().parents[3]
_DOCUMENTED = (_PROJECT / "docs" / "status.md").read_text()


def _busy(engine: Engine) -> None:
    """Two requests of different urgency, one batch half done, one that waits, an alert, a pause and errors."""
    queue(engine, addresses(30), request=1)
    queue(engine, addresses(4, prefix="urgent"), request=2, priority=100)
    with engine.begin() as connection:
        ago = database_now(connection) - timedelta(minutes=10)
        batch = {"user_id": 1, "request_id": 1, "quantity": 10}
        at_bouncer = {"status": BatchStatus.PROCESSING, "bouncer_id": "b-1", "processed": 5, "uploaded_ts": ago}
        connection.execute(insert(Batch).values(**batch, **at_bouncer))
        connection.execute(insert(Batch).values(**batch))
        connection.execute(
            update(QueuedContact)
            .where(QueuedContact.queue_id <= 10)
            .values(status=QueueStatus.ASSIGNED, batch_id=1, assigned_ts=ago)
        )
        store_notes(connection, "default", [CallNote(Call.STATUS, "rate limited", 0.1)] * 3)
        settle(
            connection,
            "default",
            [Judgement("backlog", crossed=True, message="24 contacts wait (threshold 20)")],
            calm_minutes=0,
        )
        record_metrics(connection, {"backlog_contacts": 24, "limit_batches": 7, "limit_requests_a_minute": 99})
        account_state.pause(connection, "default", by="ann@desk", reason="the list is wrong")
        account_state.record_credits(connection, "default", 1234)


def test_everything_is_told(engine: Engine) -> None:
    """What waits by priority and request, what is under way and until when, limits, accounts, alerts and errors."""
    _busy(engine)
    report = StockTaker(engine, Settings()).take()
    assert (report.contacts.queued, report.contacts.assigned) == (24, 10)
    assert [(one.layer, one.priority, one.contacts) for one in report.waiting] == [("basic", 100, 4), ("basic", 50, 20)]
    assert [(one.request_id, one.name, one.queued, one.assigned) for one in report.requests] == [
        (1, "request 1", 20, 10),
        (2, "request 2", 4, 0),
    ]
    half_done, waiting = report.in_flight
    assert (half_done.state, half_done.processed, half_done.quantity) == ("queued at Bouncer", 5, 10)
    assert half_done.queued_ts is not None
    assert 600 <= (half_done.queued_seconds or 0) < 660
    assert half_done.expected_end_ts is not None
    assert abs((half_done.expected_end_ts - report.taken_ts).total_seconds() - 600) < 60
    assert (waiting.state, waiting.seconds, waiting.expected_end_ts) == ("ready", None, None)
    assert (waiting.queued_ts, waiting.queued_seconds) == (None, None)
    (limits,) = report.limits
    assert (limits.batches, limits.most_batches, limits.most_requests_a_minute) == (1, 7, 99)
    assert [(one.alert, one.message) for one in report.alerts] == [("backlog", "24 contacts wait (threshold 20)")]
    assert [(one.kind, one.call, one.count) for one in report.last_errors] == [("rate limited", "status", 3)]
    assert (report.account.paused_by, report.account.credits) == ("ann@desk", 1234)


def test_what_is_finished_is_not_in_the_way(engine: Engine) -> None:
    """Finished requests are left out, and of very many unfinished ones the rest is a number."""
    for request in range(1, 24):
        queue(engine, addresses(1, prefix=f"r{request}"), request=request)
    with engine.begin() as connection:
        done = {"status": QueueStatus.COMPLETED}
        connection.execute(update(QueuedContact).where(QueuedContact.request_id == 1).values(**done))
    counts = read(engine, count_everything)
    assert [one.request_id for one in counts.requests] == list(range(2, 22))
    assert (counts.more_requests, counts.contacts.completed, counts.contacts.queued) == (2, 1, 22)
    empty = read(engine, take_stock, counts, most_batches=15, most_requests_a_minute=200)
    assert (empty.in_flight, empty.alerts, empty.checked_ts, empty.limits[0].most_batches) == ([], [], None, 15)


@on_sqlite
def test_all_is_well_only_if_nothing_waits_in_vain(engine: Engine) -> None:
    """It was said beside a pause that 24 contacts waited for, and beside errors too few for an alert."""
    queue(engine, addresses(24))
    with engine.begin() as connection:
        record_metrics(connection, {"backlog_contacts": 24})
        account_state.record_credits(connection, "default", 1234)
    assert "all is well" in _shown(engine)
    with engine.begin() as connection:
        account_state.pause(connection, "default", by="ann@desk", reason="the list is wrong")
    assert "not well: 24 contacts wait while uploads are paused" in _shown(engine)
    with engine.begin() as connection:
        account_state.resume(connection, "default")
        store_notes(connection, "default", [CallNote(Call.STATUS, "answered", 0.1)] * 3)
        store_notes(connection, "default", [CallNote(Call.STATUS, "bouncer unavailable", 0.1)] * 5)
    shown = _shown(engine)
    assert "not well: 62% of 8 calls failed" in shown
    assert "all is well" not in shown


@on_sqlite
def test_the_screen_fits_80_columns(engine: Engine, database_url: str, tmp_path: Path) -> None:
    """No line is longer than a terminal of 80 columns, and no figure is cut."""
    _busy(engine)
    with engine.begin() as connection:
        connection.execute(update(Batch).values(quantity=100_000, processed=50_000, running_ts=Batch.uploaded_ts))
    shown = run(["status"], {**clean_environment(tmp_path, DATABASE_URL=database_url), "COLUMNS": "80"})
    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert max(map(len, lines)) <= 80
    for words in (
        "ALERT backlog since",
        "24 wait · 10 under way · 0 verified · 0 failed",
        "4 critical · 20 normal",
        "batches 1/7 · this minute: requests 0/99, uploads 0/60",
        "by ann@desk: the list is wrong",
        "1,234 credits",
        "50,000 of 100,000",
        "rate limited",
    ):
        assert any(words in line for line in lines), words
    assert not any("…" in line for line in lines)


def _shown(engine: Engine) -> str:
    terminal = Console(width=200, file=io.StringIO(), color_system=None)
    terminal.print(render_status(StockTaker(engine, Settings()).take()))
    return terminal.file.getvalue()  # type: ignore[attr-defined]  # it is the one above


@on_sqlite
def test_what_an_old_check_found_is_not_shown_as_the_present(engine: Engine) -> None:
    """While no check has run for days, its alerts and speed are told with their age, and moments with their day."""
    _busy(engine)
    with engine.begin() as connection:
        record_metrics(connection, {"backlog_contacts": 24, "settled_contacts_an_hour": 7, "credits_last_hours": 5})
    shown = _shown(engine)
    assert "7 contacts settled in the last hour" in shown
    assert "for 5 h" in shown
    assert "ago" not in shown
    now = read(engine, database_now)
    long_ago = now - timedelta(hours=49, minutes=1)
    for column in (HealthMetric.recorded_ts, Alert.began_ts, Account.paused_ts, Account.credits_ts):
        with engine.begin() as connection:
            connection.execute(update(column.class_).values({column: long_ago}))
    shown = _shown(engine)
    since = f"{long_ago:%Y-%m-%d %H:%M}"
    assert f"ALERT backlog since {since}: 24 contacts wait (threshold 20) (2 d ago)" in shown
    assert f"PAUSED since {since} by" in shown
    assert f"1,234 credits at {since}" in shown
    assert "7 contacts settled in an hour, 2 d ago" in shown
    assert "for 5 h" not in shown


@on_sqlite
def test_the_screen_tells_how_long_batches_are_queued_at_bouncer_and_since_when(engine: Engine) -> None:
    """Nothing was to be seen of a batch that waited behind somebody else's list but that it was under way."""
    _busy(engine)
    with engine.begin() as connection:
        ago = database_now(connection) - timedelta(hours=3)
        batch = {"user_id": 1, "request_id": 1, "quantity": 10, "bouncer_id": "b-2", "uploaded_ts": ago}
        connection.execute(insert(Batch).values(**batch, status=BatchStatus.PROCESSING))
    since = f"{ago:%H:%M}" if ago.date() == read(engine, database_now).date() else f"{ago:%Y-%m-%d %H:%M}"
    assert f"Queued      2 at Bouncer, the longest for 3.0 h, since {since} (batch 3)" in _shown(engine)
    with engine.begin() as connection:
        connection.execute(update(Batch).values(running_ts=ago))
    assert "Queued" not in _shown(engine)


@on_sqlite
def test_a_request_named_like_a_style_is_shown_as_it_is(engine: Engine, database_url: str, tmp_path: Path) -> None:
    """Names come from files and applications: square brackets and colons mean nothing to the screen."""
    queue(engine, addresses(2), request=1)
    with engine.begin() as connection:
        connection.execute(update(Request).values(name="[/1] [b]x :smile:"))
    shown = run(["status"], clean_environment(tmp_path, DATABASE_URL=database_url))
    assert (shown.code, shown.err) == (0, "")
    assert "[/1] [b]x :smile:" in shown.out


@pytest.mark.parametrize("height", [24, 30, 50])
@on_sqlite
def test_a_small_terminal_has_something_of_everything(engine: Engine, height: int) -> None:
    """On a terminal of 24 lines requests, batches and errors are all to be seen, and how many more there are."""
    _busy(engine)
    for request in range(3, 15):
        queue(engine, addresses(1, prefix=f"r{request}"), request=request)
    with engine.begin() as connection:
        one = {"user_id": 1, "request_id": 1, "quantity": 10, "status": BatchStatus.PROCESSING}
        for number in range(12):
            connection.execute(insert(Batch).values(**one, batch_id=f"more-{number}"))
        for call in Call:
            store_notes(connection, "default", [CallNote(call, "rate limited", 0.1)])
    report = StockTaker(engine, Settings()).take()
    terminal = Console(width=80, height=height, file=io.StringIO(), force_terminal=True, color_system=None)
    lines = ["".join(part.text for part in line) for line in terminal.render_lines(render_status(report, terminal))]
    assert len(lines) <= height
    shown = "\n".join(lines)
    for words in ("Request  name", "1  request 1", "Batch", "queued there", "Errors in the last hour", "rate limited"):
        assert words in shown, words
    hidden = {what: int(count) for count, what in re.findall(r"and (\d+) more (\w+)", shown)}
    listed = sum(bool(re.match(r" *\d+  request", line)) for line in lines)
    assert listed + hidden.get("requests", 0) == 14
    assert shown.count("queued there") + shown.count("ready  ") + hidden.get("batches", 0) >= 14


def test_programs_get_what_is_documented(database_url: str, engine: Engine, tmp_path: Path) -> None:
    """Every field of the object, at every depth, stands in docs/status.md."""
    _busy(engine)
    answer = run(["status", "--json"], clean_environment(tmp_path, DATABASE_URL=database_url)).answer
    assert set(answer) == {field.name for field in fields(StatusReport)}
    assert answer["alerts"][0]["alert"] == "backlog"
    assert all(f"`{name}`" in _DOCUMENTED for name in _all_fields(StatusReport))


def _all_fields(kind: type) -> set[str]:
    found = set()
    for name, hint in get_type_hints(kind).items():
        found.add(name)
        for part in (hint, *get_args(hint)):
            if is_dataclass(part) and isinstance(part, type):
                found |= _all_fields(part)
    return found


@on_sqlite
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_watching_goes_on_until_ctrl_c(engine: Engine, database_url: str, tmp_path: Path, options: list[str]) -> None:
    """The screen shows what has changed meanwhile, and Ctrl-C ends it with exit code 0 and no complaint."""
    queue(engine, addresses(7))
    environment = clean_environment(tmp_path, DATABASE_URL=database_url, TERM="xterm-256color")
    screen, terminal = pty.openpty()
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    command = [sys.executable, "-m", "deployments.command_line", "status", "--watch", *options]
    del environment["COLUMNS"]
    with subprocess.Popen(
        command, cwd=_PROJECT, env=environment, stdin=terminal, stdout=terminal, stderr=terminal
    ) as it:
        os.close(terminal)
        seven, nine = (rb"7 wait", rb"9 wait") if not options else (rb'"queued":7', rb'"queued":9')
        shown = _until(screen, seven)
        queue(engine, addresses(2, prefix="later"))
        shown += _until(screen, nine)
        it.send_signal(signal.SIGINT)
        assert it.wait(20) == 0
    os.close(screen)
    assert b"interrupted" not in shown


def _until(screen: int, words: bytes) -> bytes:
    shown, deadline = b"", time.monotonic() + 60
    while not re.search(words, shown):
        assert time.monotonic() < deadline, shown.decode(errors="replace")
        if select.select([screen], [], [], 1)[0]:
            shown += os.read(screen, 65536)
    return shown
