"""Time that commands take in an installation of ten million contacts: it goes with the work, not with the tables."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

from sqlalchemy import Engine

from bench.measuring import Bench, Row, median, stopwatch
from bench.old_installation import CONTACTS_A_REQUEST, OldInstallation, fill_old_installation
from bouncer.costs.forecast import Terms, forecast_file, forecast_queue
from bouncer.costs.ledger import Month, take_ledger, write_batches
from bouncer.credits.prices import PriceTable
from bouncer.files.exporting import export_results
from bouncer.monitoring.figures import FIGURES
from bouncer.monitoring.health import AccountLimits
from bouncer.monitoring.measurement import history, measure_account, measure_queue, record_metrics
from bouncer.monitoring.status import count_everything, take_stock
from bouncer.repeats.deep_pass import Risk, pick_some
from bouncer.repeats.reverification import Old, reverify
from bouncer.requests.cancelling import mark, prospect, to_finish, withdraw_unsent, withdraw_waiting
from bouncer.requests.kept_counts import keep_counts, requests_with_contacts
from bouncer.requests.overview import list_requests
from bouncer.requests.requeueing import requeue
from bouncer.storage.engine import engine_for
from bouncer.storage.migrate import upgrade
from bouncer.storage.tables import Layer
from bouncer.upkeep.deletions import to_delete
from bouncer.upkeep.retention import (
    OLD_ROWS,
    Retention,
    find_batches_with_old_results,
    find_empty_batches,
    find_old_rows,
)
from bouncer.verdicts.freshness import FreshFor

__all__ = ["Commands", "growing"]

_TIMES = 3
_MOST_SECONDS = 1.0
_LINES = 1_000
_FORECAST = "ingest --dry-run"
"""Looks each waiting address up, in chunks; nothing is asked of its time."""
_TERMS = Terms("default", 10_000, 15, FreshFor(days=90), PriceTable())


def growing(bench: Bench) -> list[Row]:
    """Measures what each command does with the tables, without the start of its program."""
    old = OldInstallation(bench.most)
    with bench.server.database() as name:
        engine = engine_for(bench.server.url(name))
        upgrade(engine)
        bench.say(f"filling an installation of {old.contacts:,} contacts, {old.contacts // 2:,} with results")
        fill_old_installation(bench.server, name, old)
        # As the housekeeping of two years has.
        keep_counts(engine)
        commands = Commands(engine, old, bench.folder).all()
        rows = [_row(what, command, old) for what, command in commands.items()]
        engine.dispose()
    return [row.unjudged() for row in rows] if bench.quick else rows


def _row(what: str, command: Callable[[int], object], old: OldInstallation) -> Row:
    seconds = []
    for turn in range(_TIMES):
        with stopwatch() as watch:
            command(turn)
        seconds.append(watch.seconds)
    most = None if what == _FORECAST else _MOST_SECONDS
    return Row(f"{what}, {old.contacts:,} contacts", median(seconds), "s", most=most)


class Commands:
    """The commands, each by what it is called: a function of its turn, from 0 on, so that each turn finds work.

    Args:
        engine: Of the contacts database.
        old: What is in it.
        folder: For files.
    """

    def __init__(self, engine: Engine, old: OldInstallation, folder: Path) -> None:
        self._engine = engine
        self._old = old
        self._folder = folder

    def all(self) -> Mapping[str, Callable[[int], object]]:
        """The commands in the order in which they are measured: first those that change nothing."""
        engine, old = self._engine, self._old
        return {
            "status": self._status,
            "requests": lambda _: list_requests(engine),
            f"export --request of {CONTACTS_A_REQUEST:,}": lambda _: export_results(
                engine, self._folder / "one.csv", request_id=old.settled
            ),
            "ledger": lambda _: take_ledger(engine),
            "ledger --month": lambda _: take_ledger(engine, Month(2026, 1)),
            "ledger FILE": self._ledger_file,
            _FORECAST: lambda _: forecast_queue(engine, _TERMS),
            f"import --dry-run of {_LINES:,} lines": self._forecast_file,
            "requeue --dry-run": lambda _: requeue(engine, held=True, dry_run=True),
            "requeue --dry-run --request": lambda _: requeue(engine, request_id=old.failed[0], dry_run=True),
            "cancel --dry-run": lambda _: prospect(engine, old.waiting[0]),
            "reverify --dry-run": lambda _: self._reverify(dry_run=True),
            "reverify --dry-run --status unknown": lambda _: self._reverify("unknown", dry_run=True),
            "check-health": self._check_health,
            "verify-risky, the requests that it looks through": lambda _: requests_with_contacts(engine),
            "housekeeping": self._housekeeping,
            f"requeue --request of {CONTACTS_A_REQUEST:,}": lambda turn: requeue(engine, request_id=old.failed[turn]),
            f"cancel of {CONTACTS_A_REQUEST:,}": lambda turn: self._cancel(old.waiting[turn]),
            "reverify of 1,000": lambda turn: self._reverify(budget=1_000 * (turn + 1)),
            f"verify-risky --request of {CONTACTS_A_REQUEST:,}": lambda turn: self._verify_risky(old.settled - turn),
        }

    def _status(self, _turn: int) -> None:
        counts = count_everything(self._engine)
        take_stock(self._engine, counts, most_batches=15, most_requests_a_minute=200)

    def _ledger_file(self, _turn: int) -> None:
        with (self._folder / "ledger.csv").open("w", newline="") as file:
            write_batches(self._engine, file)

    def _forecast_file(self, _turn: int) -> None:
        path = self._folder / "forecast.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([["email"], *([f"person{number}@company1.com"] for number in range(_LINES))])
        forecast_file(self._engine, path, _TERMS, request=("bench", "user1@example.com"))

    def _reverify(self, *statuses: str, budget: int = 10_000, dry_run: bool = False) -> None:
        reverify(self._engine, Old(180, statuses), monthly_budget=budget, dry_run=dry_run)

    def _check_health(self, _turn: int) -> None:
        limits = AccountLimits(15, 200, 180)
        measure_queue(self._engine, "default", Layer.BASIC, window_minutes=15, deadline_seconds=3600)
        measure_account(self._engine, "default", window_minutes=15, limits=limits)
        history(self._engine, [name for name, figure in FIGURES.items() if figure.row.title], hours=24, slots=48)
        record_metrics(self._engine, dict.fromkeys(FIGURES, 1))

    def _housekeeping(self, _turn: int) -> None:
        retention = Retention()
        for field, rows in OLD_ROWS.items():
            find_old_rows(self._engine, rows, days=getattr(retention, field))
        find_batches_with_old_results(self._engine, days=365)
        find_empty_batches(self._engine, "default")
        to_delete(self._engine, "default", every=True)

    def _cancel(self, request: int) -> None:
        mark(self._engine, request, by="bench", reason="measured")
        withdraw_unsent(self._engine, request)
        while withdraw_waiting(self._engine, request):
            pass
        to_finish(self._engine, request)

    def _verify_risky(self, request: int) -> None:
        after: int | None = 0
        while after is not None:
            after = pick_some(self._engine, request, Risk(), after=after, fresh_days=90, again=False).last
