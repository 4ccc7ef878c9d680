"""Time until a killed ``ingest`` that is started again is of use to its batches."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from bench.draining import Work, environment_of, queue_contacts, wait_until
from bench.measuring import Bench, Row
from bench.processes import running
from bench.servers import Sandbox, running_sandbox

__all__ = ["restarting"]

_USEFUL = ("create", "status", "download")


def restarting(bench: Bench) -> list[Row]:
    """Kills it when all batches are at Bouncer, so that nothing is of use but to take these over."""
    what = "and restart, to the next useful request"
    both = Row(
        f"kill -9 of ingest and its Prefect server {what}", _restart(bench, "both", with_server=True), "s", most=30
    )
    if bench.quick:
        return [both]
    return [Row(f"kill -9 of ingest {what}", _restart(bench, "alone", with_server=False), "s", most=30), both]


def _restart(bench: Bench, name: str, *, with_server: bool) -> float:
    bench.say(f"killing ingest and starting it again: {name}")
    folder = bench.folder / f"restarting-{name}"
    home = folder / "home"
    folder.mkdir()
    # Longer than it takes to be killed, started again and to find the batches.
    work = Work(batches=3, batch_size=500, slots=3, seconds=60, poll_min=2, poll_max=5)
    with bench.server.database() as database:
        url = bench.server.url(database)
        queue_contacts(work, url, folder).dispose()
        with running_sandbox(work.seconds) as sandbox:
            environment = environment_of(work, url, home, sandbox)
            try:
                # It starts its server by itself, as it does the second time.
                with running(["ingest"], environment, folder / "killed.log") as command:
                    wait_until(lambda: sandbox.operations().get("status", 0) >= work.batches, command)
                    if with_server:
                        _kill_server(home)
                    command.kill()
                    killed, before = time.time(), _useful(sandbox)
                with running(["ingest"], environment, folder / "restarted.log") as command:
                    return wait_until(lambda: _useful(sandbox) > before, command) - killed
            finally:
                _kill_server(home)


def _kill_server(home: Path) -> None:
    with suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int((home / "server.pid").read_text()), signal.SIGKILL)


def _useful(sandbox: Sandbox) -> int:
    operations = sandbox.operations()
    return sum(operations.get(operation, 0) for operation in _USEFUL)
