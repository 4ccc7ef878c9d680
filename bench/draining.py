"""One run against the sandbox, watched from outside: by its database and by the sandbox."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from sqlalchemy import Engine, text

from bench.processes import Command, Usage, running, usage_so_far
from bench.servers import Sandbox, running_sandbox
from bouncer.files.importing import import_contacts
from bouncer.storage.engine import engine_for
from bouncer.storage.migrate import upgrade
from deployments.server.local_server import local_server
from sandbox.sample import write_sample

__all__ = ["Drained", "Work", "drain", "environment_of", "queue_contacts", "wait_until", "watch"]

_LOOK_SECONDS = 0.1
_OPEN = text(
    "SELECT EXISTS (SELECT 1 FROM Bouncer_Queue WHERE status = 'queued')"
    " OR EXISTS (SELECT 1 FROM Bouncer_Queue WHERE status = 'assigned')"
)


@dataclass(frozen=True)
class Work:
    """Work to be done, and its settings.

    Attributes:
        batches: How many batches the contacts fill.
        batch_size: Contacts a batch.
        slots: Batches in flight.
        seconds: What Bouncer takes for each.
        poll_min: The shortest time between two status requests of a batch, in seconds.
        poll_max: The longest.
        parallel: Batches that Bouncer runs side by side.
        queue_ahead_minutes: How long a new upload may have to wait in Bouncer's queue.
    """

    batches: int
    batch_size: int
    slots: int
    seconds: float
    poll_min: float
    poll_max: float
    parallel: int = 15
    queue_ahead_minutes: float = 15.0

    @property
    def contacts(self) -> int:
        """All contacts."""
        return self.batches * self.batch_size

    @property
    def best_schedule(self) -> float:
        """Seconds that it takes with every slot in use all the time and no time lost between."""
        return -(-self.batches // self.slots) * self.seconds


@dataclass(frozen=True)
class Drained:
    """Observations of a run; seconds.

    Attributes:
        whole: From the start of the process to the last verdict in the database.
        from_first_upload: From the first upload to the last verdict in the database.
        after_last_completion: From the completion of the last batch to the last verdict in the database.
        to_download: From the completion of a batch to its download; the median.
        to_download_most: The longest.
        requests: All requests to Bouncer, credits left out.
        usage: What the process took.
        server: What its server took meanwhile, Prefect's or Redis; its peak is that of its whole life.
    """

    whole: float
    from_first_upload: float
    after_last_completion: float
    to_download: float
    to_download_most: float
    requests: int
    usage: Usage
    server: Usage


def drain(work: Work, url: str, folder: Path) -> Drained:
    """Queues the contacts and runs ``ingest``, beside a Prefect server that runs already, as under ``serve``.

    Args:
        work: What is to be done.
        url: An empty database.
        folder: For files.
    """
    engine = queue_contacts(work, url, folder)
    home = folder / "home"
    log = folder / "ingest.log"
    try:
        with running_sandbox(work.seconds, work.parallel) as sandbox, local_server(home):
            server = int((home / "server.pid").read_text())
            with running(["ingest", "--json"], environment_of(work, url, home, sandbox), log) as command:
                return watch(command, server, engine, sandbox)
    finally:
        engine.dispose()


def watch(command: Command, server: int, engine: Engine, sandbox: Sandbox) -> Drained:
    """Watches a program that has just been started until its work is done and it has ended.

    Args:
        command: The program.
        server: The process id of the server that it works with.
        engine: Its database.
        sandbox: Its Bouncer.
    """
    before = usage_so_far(server)
    stored = wait_until(lambda: _is_done(engine), command)
    usage = command.wait()
    after = usage_so_far(server)
    after.cpu_seconds -= before.cpu_seconds
    return _seen(sandbox, command.began, stored, usage, after)


def queue_contacts(work: Work, url: str, folder: Path) -> Engine:
    """Fills the queue of an empty database."""
    engine = engine_for(url)
    upgrade(engine)
    file = folder / "queued.csv"
    write_sample(file, work.contacts)
    import_contacts(engine, file)
    return engine


def environment_of(work: Work, url: str, home: Path, sandbox: Sandbox) -> dict[str, str]:
    """The variables that ``bouncer-flows`` reads."""
    return {
        "BOUNCER_FLOWS_HOME": str(home),
        "DATABASE_URL": url,
        "BOUNCER_API_KEY": "sandbox-key",
        "BOUNCER_API_BASE_URL": sandbox.url,
        "MAX_CONCURRENT_BATCHES": str(work.slots),
        "BATCH_SIZE": str(work.batch_size),
        "QUEUE_AHEAD_MINUTES": str(work.queue_ahead_minutes),
        "POLL_SECONDS_MIN": str(work.poll_min),
        "POLL_SECONDS_MAX": str(work.poll_max),
    }


def wait_until(reached: Callable[[], bool], command: Command) -> float:
    """Waits for a state while a command runs.

    Returns:
        When it was reached, in epoch seconds.

    Raises:
        RuntimeError: The command ended before.
    """
    while True:
        still_runs = command.look()
        if reached():
            return time.time()
        if not still_runs:
            command.wait()
            raise RuntimeError("it ended before its work was done")
        time.sleep(_LOOK_SECONDS)


def _is_done(engine: Engine) -> bool:
    with engine.connect() as connection:
        return not connection.scalar(_OPEN)


def _seen(sandbox: Sandbox, began: float, stored: float, usage: Usage, server: Usage) -> Drained:
    batches = sandbox.batches()
    to_download = [batch["first_download_at"] - batch["completed_at"] for batch in batches]
    return Drained(
        whole=stored - began,
        from_first_upload=stored - min(batch["created"] for batch in batches),
        after_last_completion=stored - max(batch["completed_at"] for batch in batches),
        to_download=median(to_download),
        to_download_most=max(to_download),
        requests=sum(count for operation, count in sandbox.operations().items() if operation != "credits"),
        usage=usage,
        server=server,
    )
