"""A whole installation for one scenario at a time: Prefect server, MariaDB and sandbox, each a real process."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from bouncer.files.importing import import_contacts
from bouncer.requests.requeueing import requeue
from bouncer.storage.engine import engine_for
from bouncer.storage.migrate import upgrade
from bouncer.storage.tables import Priority
from deployments.server.local_server import LocalServer
from sandbox.sample import write_sample
from tests.chaos.breakpoints import Breakpoint, Place, breakpoint_at
from tests.chaos.processes import Command, ForkedCommand, PlainCommand
from tests.chaos.servers import PrefectServer, kill_local_server
from tests.chaos.waiting import wait_until
from tests.chaos.workers import Workers
from tests.mariadb_server import MariaDBServer
from tests.sandbox_process import SandboxHandle, running_sandbox

__all__ = ["SANDBOX", "Account", "Site", "Unexpected", "open_site"]

SANDBOX: dict[str, Any] = {
    "fixed_seconds": 0.5,
    "finish_seconds": 0.3,
    "requests_per_minute": 600,
    "uploads_per_minute": 60,
}
"""What every scenario's Bouncer is like unless the scenario changes it: one batch after another, as documented."""

_RESTART_SECONDS = 300.0


class Unexpected(Exception):
    """A run did what it must not."""


@dataclass(frozen=True)
class Account:
    """The settings that a scenario runs with."""

    slots: int = 3
    batch_size: int = 40
    requests_per_minute: int = 600
    poll_seconds_min: float = 0.2
    poll_seconds_max: float = 1.0
    deadline_seconds: float = 300.0
    ambiguous_upload: str = "resubmit"
    callback_port: int = 0
    queue_ahead_minutes: float = 15.0


class Site:
    """The servers, and what a scenario does with them.

    Args:
        folder: For files of all kinds.
        mariadb: The contacts' database server.
        prefect: The Prefect server.
        sandbox: In Bouncer's place.
    """

    def __init__(self, folder: Path, mariadb: MariaDBServer, prefect: PrefectServer, sandbox: SandboxHandle) -> None:
        self.mariadb = mariadb
        self.prefect = prefect
        self.sandbox = sandbox
        self.key = sandbox.key
        self.account = Account()
        self.imported = 0
        self.runs: list[Command] = []
        self.asides: list[Command] = []
        self.own_server = False
        self._workers: Workers | None = None
        self._root = folder
        self._client = folder / "client"
        self._folder = folder
        self._database = ""
        self._url = ""
        self._target: tuple[str, ...] = ()

    @property
    def engine(self) -> Engine:
        """Of the scenario's database, for looking."""
        return self._engine

    def begin(self, name: str) -> None:
        """Makes everything new for a scenario: an empty database, a sandbox that has seen nothing."""
        self._folder = self._root / name
        self._folder.mkdir()
        self._database = self.mariadb.create_database()
        self._url = self.mariadb.url(self._database)
        self._engine = engine_for(self._url)
        upgrade(self._engine)
        self.sandbox.post("/_sandbox/reset")
        self.key = self.sandbox.key
        self.account = Account()
        self.imported = 0
        self.runs = []
        self.asides = []
        self.own_server = False
        self.mariadb.execute("SET GLOBAL time_zone = 'SYSTEM'")

    def end(self) -> None:
        """Ends what still runs and drops the database."""
        for run in (*self.runs, *self.asides):
            run.kill()
        if self._workers is not None:
            self._workers.end()
            self._workers = None
        if self.own_server:
            LocalServer(self._home).stop()
        self._engine.dispose()
        self.mariadb.drop_database(self._database)

    def queue(self, draw: random.Random, batches: int = 5, priority: Priority = Priority.NORMAL) -> int:
        """Queues contacts that fill so many batches, the last not quite, and returns their request."""
        contacts = batches * self.account.batch_size - draw.randrange(self.account.batch_size // 2)
        file = self._folder / f"contacts-{self.imported}.csv"
        write_sample(file, contacts, seed=draw.randrange(10**6))
        report = import_contacts(self._engine, file, priority=priority)
        self.imported += report.queued
        return report.request_id

    def ingest(self, **environment: str) -> Command:
        """Starts ``bouncer-flows ingest``.

        Args:
            environment: Variables that differ from the scenario's.
        """
        # A run with a server of its own must import Prefect after that one is up, so it cannot be a fork.
        command = PlainCommand if self.own_server else ForkedCommand
        variables = {**self._environment(), **environment}
        self._point_here(variables)
        run = command(["ingest", "--json"], variables, self._folder, f"ingest-{len(self.runs)}")
        self.runs.append(run)
        return run

    def cancel(self, request: int) -> Command:
        """Starts ``bouncer-flows cancel`` of a request."""
        run = ForkedCommand(
            ["cancel", "--request", str(request), "--json"],
            self._environment(),
            self._folder,
            f"cancel-{request}",
        )
        self.asides.append(run)
        return run

    def _point_here(self, variables: dict[str, str]) -> None:
        # Only setup points an installation at another database or account, and the scenarios share a Prefect server.
        target = tuple(variables[name] for name in ("DATABASE_URL", "BOUNCER_API_KEY", "BOUNCER_API_BASE_URL"))
        if self.own_server or target == self._target:
            return
        setup = PlainCommand(["setup", "--yes"], variables, self._folder, f"setup-{len(self.runs)}")
        self.ends_with(setup, 0)
        self._target = target

    def workers(self) -> Workers:
        """A Prefect worker for the scenario, with what the account is now; ended with the scenario."""
        self._workers = Workers(self.prefect.api_url, self._environment(), self._folder)
        return self._workers

    def send_held_again(self) -> None:
        """What ``bouncer-flows requeue --held`` does: held batches are sent again, which may be paid twice."""
        requeue(self._engine, held=True)

    def ends_with(self, run: Command, code: int) -> None:
        """Waits for the end of a run.

        Raises:
            Unexpected: It ended otherwise.
        """
        if run.wait(_RESTART_SECONDS) != code:
            raise Unexpected(f"exit code {run.code}, not {code}; it said: {run.log[-600:]}")

    def kill_all(self, run: Command) -> None:
        """Kills a run and both servers, in one go."""
        run.send(signal.SIGKILL)
        self.prefect.kill()
        self.mariadb.kill()
        run.kill()

    def kill_own_server(self) -> None:
        """Kills the server that a run has started for itself."""
        kill_local_server(self._home)

    def outage(self, server: PrefectServer | MariaDBServer, seconds: float) -> None:
        """Kills a server, leaves it away for so long, and starts it again."""
        server.kill()
        self.stay_away(seconds)
        server.start()

    def stay_away(self, seconds: float) -> None:
        """Lets time pass while a server is dead; that is the fault itself."""
        time.sleep(seconds)

    def stop_at(self, place: Place, batch: int = 0) -> AbstractContextManager[Breakpoint]:
        """Stops transactions at a place; see `breakpoint_at`."""
        return breakpoint_at(self._engine, place, batch)

    def until(self, reached: Callable[[], bool], what: str, seconds: float = 180) -> None:
        """Waits for a state that some run is to reach.

        Raises:
            Unexpected: All runs have ended without it.
            TimeoutError: It did not come.
        """

        def reached_or_over() -> bool:
            over = bool(self.runs) and all(run.code is not None for run in self.runs)
            if reached():
                return True
            if over:
                raise Unexpected(f"no run is left to wait with for {what}; the last said: {self.runs[-1].log[-600:]}")
            return False

        wait_until(reached_or_over, what, seconds)

    def until_seen(self, operation: str, count: int = 1) -> None:
        """Waits until so many calls of a kind have reached the sandbox."""
        self.until(lambda: self.seen(operation) >= count, f"{count} calls of {operation}")

    def seen(self, operation: str) -> int:
        """How many calls of a kind have reached the sandbox."""
        return int(self.sandbox.ledger()["requests_by_operation"].get(operation, 0))

    def scalar(self, query: str) -> Any:
        """The one value that a query finds."""
        with self._engine.connect() as connection:
            return connection.scalar(text(query))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows that a query finds."""
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def until_sent(self, but: int = 0) -> None:
        """Waits until every contact is in a batch that Bouncer has, but for some batches; no other upload can begin."""
        unsent = """
            SELECT (SELECT COUNT(*) FROM Bouncer_Queue WHERE status = 'queued')
                 + (SELECT COUNT(*) FROM Bouncer_Batches WHERE batch_id IS NULL AND status = 'queued')
        """
        self.until(lambda: self.scalar(unsent) == but, "all uploads")

    def until_uploads_rest(self) -> None:
        """Waits until no upload waits for its answer; only of use where none can begin."""
        self.until(lambda: self.unanswered_uploads() == 0, "the answers to uploads")

    def unanswered_uploads(self) -> int:
        """Counts the uploads whose answer is not noted yet."""
        waiting = "SELECT COUNT(*) FROM Bouncer_Batches WHERE upload_begun_ts IS NOT NULL AND batch_id IS NULL"
        return int(self.scalar(waiting))

    def restart(self) -> None:
        """A plain ``bouncer-flows ingest``, and nothing else, to its end."""
        self.ingest().wait(_RESTART_SECONDS)

    @property
    def _home(self) -> Path:
        return self._folder / "home"

    def _environment(self) -> dict[str, str]:
        account = self.account
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self._root),
            "BOUNCER_FLOWS_HOME": str(self._home),
            **({} if self.own_server else {"PREFECT_API_URL": self.prefect.api_url, "PREFECT_HOME": str(self._client)}),
            "DATABASE_URL": self._url,
            "BOUNCER_API_KEY": self.key,
            "BOUNCER_API_BASE_URL": self.sandbox.url,
            "MAX_CONCURRENT_BATCHES": str(account.slots),
            "BATCH_SIZE": str(account.batch_size),
            "RATE_LIMIT_PER_MINUTE": str(account.requests_per_minute),
            "POLL_SECONDS_MIN": str(account.poll_seconds_min),
            "POLL_SECONDS_MAX": str(account.poll_seconds_max),
            "BATCH_DEADLINE_SECONDS": str(account.deadline_seconds),
            "AMBIGUOUS_UPLOAD": account.ambiguous_upload,
            "QUEUE_AHEAD_MINUTES": str(account.queue_ahead_minutes),
            **self._callbacks(),
        }

    def _callbacks(self) -> dict[str, str]:
        port = self.account.callback_port
        return {"CALLBACK_URL": f"http://127.0.0.1:{port}", "CALLBACK_PORT": str(port)} if port else {}


@contextmanager
def open_site(folder: Path) -> Iterator[Site]:
    """Starts the servers of a site, and stops them at the end.

    Args:
        folder: For files of all kinds; must exist.
    """
    prefect = PrefectServer(folder / "server")
    with MariaDBServer() as mariadb, running_sandbox(0, **SANDBOX) as sandbox:
        try:
            prefect.start()
            yield Site(folder, mariadb, prefect, sandbox)
        finally:
            prefect.stop()
