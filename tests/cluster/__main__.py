"""``python -m tests.cluster``: the production topology on one machine, with a worker and a server killed meanwhile."""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cyclopts import App
from rich.console import Console
from rich.table import Table

from bouncer.storage.engine import engine_for
from sandbox.sample import write_sample
from tests.cluster.databases import PostgreSQL, Redis, missing_packages
from tests.cluster.measuring import Figures, Moment, Watch
from tests.cluster.programs import Program, run_to_end
from tests.cluster.topology import Prefect, client_environment
from tests.mariadb_server import MariaDBServer
from tests.sandbox_process import SandboxHandle, running_sandbox

app = App(name="python -m tests.cluster", help="Runs the production topology on one machine, and kills parts of it.")
_progress = Console(stderr=True, highlight=False, soft_wrap=True)

_PROJECT = Path(__file__).resolve().parents[2]
_SLOTS = 15
_REQUESTS_A_MINUTE = 200
_UPLOADS_A_MINUTE = 60
_LOOK_SECONDS = 1.0
_ROWS = 24


@app.default
def cluster(
    *,
    contacts: int = 200_000,
    batch_size: int = 5_000,
    batch_seconds: float = 90,
    servers: int = 2,
    workers: int = 3,
    patience: float = 1200,
    keep: Path | None = None,
) -> int:
    """Verifies contacts on several workers and Prefect servers, kills one of each, and prints what came of it.

    Args:
        contacts: How many are verified.
        batch_size: How many are in a batch.
        batch_seconds: How long the sandbox takes for a batch.
        servers: Prefect server processes, one of which is killed.
        workers: Workers, one of which is killed with all runs on it.
        patience: Seconds after which what is not verified yet will never be.
        keep: A folder that keeps the logs; they go if it is left out.
    """
    if missing := missing_packages():
        _progress.print(f"this needs: apt-get install {' '.join(missing)}")
        return 2
    with tempfile.TemporaryDirectory(prefix="cluster-") as temporary, ExitStack() as stack:
        folder = Path(temporary) if keep is None else keep.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        # PostgreSQL's own user must get to its data.
        folder.chmod(0o711)
        sandbox = stack.enter_context(running_sandbox(fixed_seconds=batch_seconds, parallel=_SLOTS))
        mariadb = stack.enter_context(MariaDBServer())
        prefect = stack.enter_context(_running_prefect(folder, servers))
        database = mariadb.url(mariadb.create_database())
        environment = client_environment(
            prefect,
            folder,
            DATABASE_URL=database,
            BOUNCER_API_KEY=sandbox.key,
            BOUNCER_API_BASE_URL=sandbox.url,
            BATCH_SIZE=str(batch_size),
            MAX_CONCURRENT_BATCHES=str(_SLOTS),
            RATE_LIMIT_PER_MINUTE=str(_REQUESTS_A_MINUTE),
        )
        _set_up(folder, environment, contacts)
        crew = [
            Program(
                f"worker-{number}",
                [sys.executable, "-m", "prefect", "worker", "start", "--pool", "bouncer", "--name", f"worker-{number}"],
                environment,
                folder,
            )
            for number in range(1, workers + 1)
        ]
        engine = engine_for(database)
        stack.callback(engine.dispose)
        watch = Watch(engine, sandbox, prefect, contacts)
        for worker in crew:
            stack.callback(worker.stop)
            worker.start()
        _follow(watch, crew, prefect, patience)
        figures = watch.figures()
        checks = _checks(figures, watch, sandbox, prefect)
    _print(figures, watch.moments, checks)
    return 0 if all(checks.values()) else 1


@contextmanager
def _running_prefect(folder: Path, servers: int) -> Iterator[Prefect]:
    _progress.print("starting PostgreSQL, Redis and the Prefect servers")
    (folder / "postgresql").mkdir()
    postgresql, redis = PostgreSQL(folder / "postgresql"), Redis(folder)
    with ExitStack() as stack:
        for database in (postgresql, redis):
            stack.callback(database.program.stop)
            database.start()
        prefect = Prefect(postgresql, redis, folder, servers)
        for program in prefect.programs:
            stack.callback(program.stop)
        prefect.start()
        yield prefect


def _set_up(folder: Path, environment: dict[str, str], contacts: int) -> None:
    command = [sys.executable, "-m", "deployments.command_line"]
    _progress.print(f"setting up, and importing {contacts:,} contacts")
    run_to_end("setup", [*command, "setup"], environment, folder)
    run_to_end("setup-check", [*command, "setup", "--check"], environment, folder)
    write_sample(folder / "contacts.csv", contacts)
    run_to_end("import", [*command, "import", "contacts.csv"], environment, folder)
    deploy = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    run_to_end("deploy", deploy, environment, folder, cwd=_PROJECT)


def _follow(watch: Watch, workers: list[Program], prefect: Prefect, patience: float) -> None:
    # In the middle of things: when batches are in flight and more wait.
    plans = {
        "a worker is killed, with its runs": (0.15, workers[0]),
        "a Prefect server is killed": (0.4, prefect.servers[0]),
    }
    end = time.monotonic() + patience
    while time.monotonic() < end:
        moment = watch.look()
        for what, (share, program) in plans.items():
            if program.is_running and moment.settled >= share * watch.contacts:
                program.kill()
                watch.look(what)
                _progress.print(f"{moment.seconds:4.0f} s: {what}")
        if int(moment.seconds) % 15 == 0:
            _progress.print(
                f"{moment.seconds:4.0f} s: {moment.settled:,} settled, {moment.in_flight} batches in flight"
            )
        if moment.settled >= watch.contacts:
            return
        time.sleep(_LOOK_SECONDS)


def _checks(figures: Figures, watch: Watch, sandbox: SandboxHandle, prefect: Prefect) -> dict[str, bool]:
    events = [moment.event for moment in watch.moments if moment.event]
    return {
        f"every contact has a verdict: {figures.completed:,} of {figures.contacts:,}": figures.completed
        == figures.contacts,
        f"lost: {figures.lost:,}": figures.lost == 0,
        f"paid twice: {figures.paid_twice:,}": figures.paid_twice == 0,
        f"in flight at once: {figures.most_in_flight} of {_SLOTS}": figures.most_in_flight <= _SLOTS,
        f"requests in 60 s: {figures.most_requests} of {_REQUESTS_A_MINUTE}": figures.most_requests
        <= _REQUESTS_A_MINUTE,
        f"uploads in 60 s: {figures.most_uploads} of {_UPLOADS_A_MINUTE}": figures.most_uploads <= _UPLOADS_A_MINUTE,
        f"killed meanwhile: {len(events)} of 2": len(events) == 2,
        f"batches taken over from the killed worker: {figures.taken_over:,}": figures.taken_over > 0,
        f"answers of 429: {sandbox.ledger()['answers_by_status'].get('429', 0)}": "429"
        not in sandbox.ledger()["answers_by_status"],
        "slots given back": prefect.slots_in_use("bouncer-batches") == 0,
    }


def _print(figures: Figures, moments: list[Moment], checks: dict[str, bool]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(title=f"{figures.contacts:,} contacts on three workers and two Prefect servers", min_width=60)
    table.add_column("what")
    table.add_column("figure", justify="right")
    for what, figure in {
        "seconds from the workers' start to the last verdict": f"{figures.seconds:,.0f}",
        "contacts a minute": f"{figures.contacts_a_minute:,.0f}",
        "batches": f"{figures.batches:,}",
        "batches taken over by another run": f"{figures.taken_over:,}",
        "requests a batch": f"{figures.requests_a_batch:.1f}",
        "slots in use, at most": f"{figures.most_slots} of {_SLOTS}",
        "batches in flight at the sandbox, at most": f"{figures.most_in_flight} of {_SLOTS}",
        "requests in any 60 s, at most": f"{figures.most_requests} of {_REQUESTS_A_MINUTE}",
        "uploads in any 60 s, at most": f"{figures.most_uploads} of {_UPLOADS_A_MINUTE}",
        "contacts lost": f"{figures.lost:,}",
        "addresses in uploads whose answer was lost (declared)": f"{figures.declared_twice:,}",
        "addresses paid twice beyond those": f"{figures.paid_twice:,}",
    }.items():
        table.add_row(what, figure)
    console.print(table)
    over_time = Table(title="over time", min_width=60)
    for heading in ("seconds", "settled", "slots in use", "in flight"):
        over_time.add_column(heading, justify="right")
    over_time.add_column("")
    step = max(1, len(moments) // _ROWS)
    for number, moment in enumerate(moments):
        if moment.event or number % step == 0 or moment is moments[-1]:
            slots = "no answer" if moment.slots is None else str(moment.slots)
            over_time.add_row(
                f"{moment.seconds:,.0f}", f"{moment.settled:,}", slots, str(moment.in_flight), moment.event
            )
    console.print(over_time)
    for what, holds in checks.items():
        console.print(f"{'holds' if holds else 'DOES NOT HOLD'}: {what}")


if __name__ == "__main__":
    sys.exit(app(exit_on_error=True))
