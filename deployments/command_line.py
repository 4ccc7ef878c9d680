"""The command ``bouncer-flows``: data on standard output, everything else on standard error, one line an error.

What needs Prefect is imported inside the commands: it takes two seconds, and it reads its settings once, when it is
first imported, which must be after the local server is up.
"""

import asyncio
import getpass
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import httpx
import orjson
from cyclopts import App, CycloptsError, Parameter, validators
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from bouncer.database import engine_for, probe, read, write
from bouncer.errors import BouncerFlowsError, SettingRefused
from deployments.console import console
from deployments.exit_codes import ExitCode
from deployments.memory import give_back_freed_memory
from deployments.orchestration import orchestrator
from deployments.settings import Settings, read_settings

if TYPE_CHECKING:
    from bouncer.forecasting import Forecast
    from tasks.summarise import IngestSummary

__all__ = ["main"]

app = App(
    name="bouncer-flows",
    help="Verifies contacts through Bouncer's batch API: nothing lost, nothing paid twice.",
    version_flags=["--version"],
)

AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object and nothing else.")]
Verbose = Annotated[bool, Parameter(name="--verbose", negative="", help="Show the runs' logs, not just warnings.")]
DryRun = Annotated[bool, Parameter(negative="", help="Only tell what it would cost; change nothing.")]
Credits = Annotated[
    int | None,
    Parameter(help="The most credits to commit, 0 for any number; the rest waits.", validator=validators.Number(gte=0)),
]
OneAccount = Annotated[str | None, Parameter(name="--account", help="The name of one account block; all if left out.")]
OneRequest = Annotated[int | None, Parameter(name="--request", help="The id of one request; all if left out.")]
File = Annotated[Path, Parameter(help="A CSV file.")]
FileOrDash = Annotated[
    Path, Parameter(help="A CSV file.", allow_leading_hyphen=True, validator=lambda _, file: _not_an_option(file))
]


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    give_back_freed_memory()
    try:
        code = app(exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _complain(f"{error}; bouncer-flows --help lists the commands")
        code = ExitCode.COULD_NOT_RUN
    except BouncerFlowsError as error:
        _complain(str(error))
        code = ExitCode.COULD_NOT_RUN
    except DBAPIError as error:
        # Only the driver's words: SQLAlchemy's text holds the statement.
        words = error.orig.args[-1] if error.orig is not None and error.orig.args else "it gave no reason"
        _complain(
            f"the database refused: {words}; bouncer-flows setup --check tells whether its tables are as they should be"
        )
        code = ExitCode.COULD_NOT_RUN
    except httpx.HTTPError as error:
        # Bouncer's have become errors of our own before this; what is left is Prefect's server.
        _complain(
            f"the Prefect server does not answer as it should ({type(error).__name__}); "
            "see whether it runs, and check PREFECT_API_URL"
        )
        code = ExitCode.COULD_NOT_RUN
    except BrokenPipeError:
        # Whoever read our output has had enough; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.COULD_NOT_RUN
    except KeyboardInterrupt:
        _complain("interrupted; run the same command again to go on")
        code = ExitCode.INTERRUPTED
    sys.exit(code or 0)


@app.command
def setup(*, check: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Makes or mends tables, blocks and limits, from the environment variables. Safe to run again.

    Args:
        check: Only say what is off, and exit with 1 if anything is.
    """
    settings = read_settings()
    with orchestrator(settings):
        from deployments.setup import set_up
        from deployments.setup_check import check_server, check_setup

        changes = asyncio.run(check_setup(settings) if check else set_up(settings))
        faults = [] if check else asyncio.run(check_server())
    for line in changes:
        print(line)
    if not changes:
        print("everything is as it should be")
    for fault in faults:
        _say(f"warning: {fault}")
    return ExitCode.SOME_FAILED if check and changes else 0


@app.command(name="import")
def import_(
    file: File,
    *,
    request: Annotated[str | None, Parameter(help="The request's name; the file's name if left out.")] = None,
    user: Annotated[str | None, Parameter(help="The e-mail address of the user who asks.")] = None,
    priority: Literal["low", "normal", "high", "critical"] = "normal",
    column: Annotated[str | None, Parameter(help="The column with the addresses, if its name is odd.")] = None,
    max_credits: Credits = None,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> int:
    """Puts the contacts of a CSV file into the queue. Importing the same file again adds nothing.

    Args:
        priority: How urgent they are; higher goes first.
    """
    if dry_run:
        settings = read_settings()
        with orchestrator(settings):
            from deployments.forecasts import forecast_import

            forecast = forecast_import(settings, file, request=request, user=user, column=column, quiet=json)
        return _tell_forecast(forecast, json=json)
    from bouncer.importing import import_contacts
    from bouncer.tables import Priority
    from deployments.display import byte_progress

    engine = _database(read_settings())
    with byte_progress("importing", file, quiet=json) as advance:
        report = import_contacts(
            engine,
            file,
            request_name=request,
            user_email=user,
            priority=Priority[priority.upper()],
            column=column,
            max_credits=max_credits,
            progress=advance,
        )
    if json:
        _print_json(report)
        return 0
    print(
        f"request {report.request_id} ({report.request_name}): {report.queued:,} contacts queued, "
        f"{report.duplicates:,} duplicates, {report.rejected:,} lines rejected"
    )
    for note in report.notes:
        _say(note)
    if report.rejected_file is not None:
        _say(f"the rejected lines and their reasons are in {report.rejected_file}")
    return 0


@app.command
def ingest(
    *,
    request: OneRequest = None,
    max_credits: Credits = None,
    dry_run: DryRun = False,
    json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Verifies what waits in the queue, in this process, until nothing waits any more.

    Exit code 0: every contact has a verdict. 1: some failed, with a reason. 2: it could not run to the end.
    """
    settings = read_settings()
    if dry_run:
        with orchestrator(settings, verbose=verbose):
            from deployments.forecasts import forecast_ingest

            forecast = forecast_ingest(request, max_credits=max_credits, verbose=verbose)
        return _tell_forecast(forecast, json=json)
    with orchestrator(settings, verbose=verbose) as ui:
        from deployments.running import run_ingest

        summary = run_ingest(settings, request_id=request, max_credits=max_credits, ui=ui, quiet=json, verbose=verbose)
    return _tell_summary(summary, json=json)


@app.command(name="verify-risky")
def verify_risky(
    *,
    request: OneRequest = None,
    score_below: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=101))] = 70,
    status: list[Literal["deliverable", "risky", "undeliverable", "unknown"]] | None = None,
    again: Annotated[bool, Parameter(negative="")] = False,
    json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Sends contacts whose verdict leaves doubt through the account that DEEP_BOUNCER_API_KEY opens.

    These are contacts at domains that accept all mail, and those with a low score. Exit codes are those of ingest.

    Args:
        score_below: Take contacts whose score is lower, of 0 to 100.
        status: Take only contacts with this verdict; may be given several times.
        again: Take also contacts that the deep pass has looked at already and that are still risky.
    """
    settings = read_settings()
    with orchestrator(settings, verbose=verbose) as ui:
        from deployments.running import Wanted, run_verify_risky

        wanted = Wanted(request, score_below, status, again)
        summary = run_verify_risky(settings, wanted, ui=ui, quiet=json, verbose=verbose)
    return _tell_summary(summary, json=json)


@app.command
def status(*, watch: Annotated[bool, Parameter(negative="")] = False, json: AsJson = False) -> int:
    """Shows how far everything has come, on one screen.

    Args:
        watch: Renew it every two seconds, until Ctrl-C; with --json, one object a line.
    """
    from deployments.status_screen import WATCH_SECONDS, StockTaker, print_status, watch_status

    settings = read_settings()
    stock = StockTaker(_database(settings), settings)
    if json:
        _print_json(stock.take())
        with suppress(KeyboardInterrupt):
            while watch:
                time.sleep(WATCH_SECONDS)
                _print_json(stock.take())
    elif watch:
        watch_status(stock.take)
    else:
        print_status(stock.take)
    return 0


@app.command
def export(file: FileOrDash, *, request: OneRequest = None) -> int:
    """Writes a CSV file with one line for each contact and its verdict; - for standard output."""
    from bouncer.exporting import export_results
    from deployments.display import row_progress

    engine = _database(read_settings())
    with row_progress("exporting") as advance:
        report = export_results(engine, file, request_id=request, progress=advance)
    _say(f"{report.rows:,} contacts written to {report.path or 'standard output'}")
    return 0


@app.command
def ledger(
    file: Annotated[Path | None, Parameter(help="A CSV file, for one line a batch.", allow_leading_hyphen=True)] = None,
    *,
    month: Annotated[str | None, Parameter(help="Such as 2026-05, in UTC; all months if left out.")] = None,
    json: AsJson = False,
) -> int:
    """Shows what was paid for: credits by Bouncer's own count beside those that its verdicts suggest."""
    from bouncer.ledger import Month, take_ledger
    from deployments.ledger_report import print_ledger, write_ledger

    of_month = None if month is None else Month.of(month)
    engine = _database(read_settings())
    if file is not None:
        _not_an_option(file)
        count = write_ledger(engine, file, of_month)
        _say(f"{count:,} batches written to {'standard output' if str(file) == '-' else file}")
        return 0
    taken = read(engine, take_ledger, of_month)
    if json:
        _print_json(taken)
    else:
        print_ledger(taken)
    return 0


@app.command
def requeue(
    *,
    request: OneRequest = None,
    dead_letter: Annotated[int | None, Parameter(help="The id of one dead letter.")] = None,
    held: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    json: AsJson = False,
) -> int:
    """Puts failed contacts back into the queue and marks their dead letters reviewed; the next ingest sends them.

    Args:
        held: Also send again the batches whose upload was lost and that were held. They may be paid twice.
        dry_run: Only say what it would do.
    """
    from bouncer.requeueing import requeue as requeue_failed
    from deployments.display import row_progress

    engine = _database(read_settings())
    with row_progress("requeueing") as advance:
        report = requeue_failed(
            engine, request_id=request, dead_letter=dead_letter, held=held, dry_run=dry_run, progress=advance
        )
    if json:
        _print_json(report)
    else:
        did = "would go back" if dry_run else "went back"
        print(f"{report.contacts:,} failed contacts {did} into the queue, from {report.dead_letters:,} dead letters")
        if report.held:
            print(f"{report.held:,} held batches {'would be' if dry_run else 'will be'} sent again")
    return 0


@app.command
def reverify(
    *,
    older_than_days: Annotated[float, Parameter(validator=validators.Number(gt=0))] = 180,
    monthly_budget: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 10_000,
    status: list[Literal["deliverable", "risky", "undeliverable", "unknown"]] | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    json: AsJson = False,
) -> int:
    """Queues the contacts with the oldest verdicts again, at low priority; the next ingest verifies them.

    Args:
        older_than_days: Take contacts whose verdict is older.
        monthly_budget: The most contacts of a calendar month, whoever queues them.
        status: Take only contacts with this verdict; may be given several times.
        dry_run: Only say what it would do.
    """
    from bouncer import reverifying
    from bouncer.reusing import FreshFor
    from bouncer.reverifying import Old
    from deployments.display import row_progress

    settings = read_settings()
    engine = _database(settings)
    with row_progress("queueing") as advance:
        report = reverifying.reverify(
            engine,
            Old(older_than_days, tuple(status or ()), FreshFor(days=settings.result_max_age_days)),
            monthly_budget=monthly_budget,
            dry_run=dry_run,
            progress=advance,
        )
    if json:
        _print_json(report)
        return 0
    where = "" if report.request_id is None else f" in request {report.request_id}"
    print(
        f"{report.contacts:,} contacts {'would be' if dry_run else 'are'} queued again{where}; "
        f"{report.budget_left:,} more fit into the budget of {report.month}"
    )
    if report.is_cancelled:
        _say(f"request {report.request_id} is cancelled, so nothing more is queued this month")
    return 0


@app.command
def cancel(
    *,
    request: Annotated[int, Parameter(help="The id of the request.")],
    reason: str = "by hand",
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    json: AsJson = False,
) -> int:
    """Cancels a request: nothing of it is sent any more, and what Bouncer has of it is finished early and loaded.

    Args:
        reason: Why, for others to read: each contact fails with it.
        dry_run: Only say what it would do.
    """
    settings = read_settings()
    with orchestrator(settings) as ui:
        from deployments.running import run_cancel

        report = run_cancel(
            settings, request_id=request, reason=reason, by=_caller(), dry_run=dry_run, ui=ui, quiet=json
        )
    if json:
        _print_json(report)
    else:
        print(report.message)
    return ExitCode.COULD_NOT_RUN if report.batches and not dry_run else 0


@app.command
def move(file: Annotated[Path, Parameter(help="The SQLite file that has been used so far.")]) -> int:
    """Copies everything from an SQLite file into the empty database that DATABASE_URL names."""
    from bouncer import moving
    from deployments.display import row_progress

    settings = read_settings()
    if settings.url.startswith("sqlite"):
        raise SettingRefused("DATABASE_URL names no MariaDB or MySQL database to move to; set it first")
    engine = _database(settings)
    with row_progress("copying", "rows") as advance:
        moved = moving.move(file, engine, progress=advance)
    for table, rows in moved.rows.items():
        print(f"{table}: {rows:,} rows")
    _say("copied; run bouncer-flows setup, so that runs work on the new database")
    return 0


@app.command
def pause(*, reason: str = "by hand", account: OneAccount = None) -> int:
    """Lets no more uploads begin; batches in flight are polled and loaded to their end.

    Args:
        reason: Why, for others to read.
    """
    from bouncer import accounts

    engine = _database(read_settings())
    named = read(engine, accounts.known_or_all, account)
    paused = [name for name in named if write(engine, accounts.pause, name, by=_caller(), reason=reason)]
    which = f" {', '.join(paused)}" if len(named) > 1 else ""
    print(f"paused{which}; bouncer-flows resume lets uploads begin again" if paused else "it was paused already")
    return 0


@app.command
def resume(*, account: OneAccount = None) -> int:
    """Lets uploads begin again. An account without credits pauses anew at its next upload."""
    from bouncer import accounts

    engine = _database(read_settings())
    named = read(engine, accounts.known_or_all, account)
    resumed = [name for name in named if write(engine, accounts.resume, name)]
    which = f" {', '.join(resumed)}" if len(named) > 1 else ""
    print(f"resumed{which}" if resumed else "it was not paused")
    return 0


@app.command
def sandbox(*, port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65_535))] = 8025) -> int:
    """Runs a stand-in for the Bouncer service, until it is stopped; for trying things out at no cost."""
    from sandbox import SandboxSettings, serve_sandbox

    with socket.socket() as attempt:
        # As the server will, or a port whose last connections are still being forgotten would count as taken.
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError:
            raise SettingRefused(f"port {port} is taken or may not be used; choose another with --port") from None
    serve_sandbox(SandboxSettings(), "127.0.0.1", port)
    return 0


@app.command
def serve(*, verbose: Verbose = False) -> int:
    """Runs everything on this machine until it is stopped: the Prefect server with its UI, and the deployments."""
    settings = read_settings()
    with orchestrator(settings, verbose=verbose) as ui:
        from deployments.serving import serve_until_stopped

        serve_until_stopped(settings, ui)
    return 0


@app.command
def metrics() -> int:
    """Serves the figures for Prometheus at METRICS_HOST and METRICS_PORT until it is stopped."""
    from deployments.metrics_endpoint import serving_metrics

    settings = read_settings()
    if settings.metrics_port == 0:
        raise SettingRefused("METRICS_PORT is not set; name the port, such as 9464")
    engine = _database(settings)
    ends = {signal.SIGINT, signal.SIGTERM}
    # Before there is another thread, which would take them instead.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with serving_metrics(settings, engine) as port:
        _say(f"figures for Prometheus are at http://{settings.metrics_host}:{port}/metrics")
        signal.sigwait(ends)
    return 0


@app.command
def callbacks() -> int:
    """Receives Bouncer's callbacks until it is stopped, and does nothing else; for runs on workers."""
    from deployments.callback_receiver import receive_until_stopped

    settings = read_settings()
    receive_until_stopped(settings, _database(settings))
    return 0


@app.command
def demo(
    *, contacts: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 50_000, folder: Path = Path(".demo")
) -> int:
    """Verifies a realistic sample from beginning to end, on embedded defaults or on what the environment names.

    Args:
        contacts: How many contacts the sample has.
        folder: Where the sample, the results and the embedded servers' files go.
    """
    from deployments.demo import run_demo

    return run_demo(contacts, folder)


def _tell_summary(summary: "IngestSummary", *, json: bool) -> int:
    if json:
        _print_json(summary)
    else:
        from deployments.reporting import print_summary

        print_summary(summary)
    if summary.outcome not in {"drained", "nothing to do"}:
        return ExitCode.COULD_NOT_RUN
    return ExitCode.SOME_FAILED if summary.failed else 0


def _caller() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # In a container, under the number of a user that it does not know.
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _not_an_option(file: Path) -> None:
    # A misspelt option must not become the name of a file.
    if str(file).startswith("-") and str(file) != "-":
        raise ValueError(f"there is no option {file}")


def _database(settings: Settings) -> Engine:
    from bouncer.migrate import upgrade

    settings.bouncer_flows_home.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = engine_for(settings.url)
    probe(engine)
    upgrade(engine)
    return engine


def _tell_forecast(forecast: "Forecast", *, json: bool) -> int:
    if json:
        _print_json(forecast)
    else:
        from deployments.forecasts import print_forecast

        print_forecast(forecast)
    return 0


def _print_json(report: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(asdict(report), default=str, option=orjson.OPT_APPEND_NEWLINE))  # type: ignore[call-overload]  # every report is a dataclass
    sys.stdout.flush()


def _complain(message: str) -> None:
    _say(f"bouncer-flows: {message}")


def _say(message: str) -> None:
    # Where both outputs go to one file, what was printed before stands before it.
    sys.stdout.flush()
    console(stderr=True).print(message, soft_wrap=True)


if __name__ == "__main__":
    main()
