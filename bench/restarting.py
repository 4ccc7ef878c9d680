"""How long a killed ``ingest`` that is started again takes until it is of use to its batches."""

import time

from bench.draining import Work, environment_of, queue_contacts, wait_until
from bench.measuring import Bench, Row
from bench.processes import running
from bench.servers import Sandbox, running_sandbox
from deployments.local_server import local_server

__all__ = ["restarting"]

_USEFUL = ("create", "status", "download")


def restarting(bench: Bench) -> list[Row]:
    """Kills it when all batches are at Bouncer, so that nothing is of use but to take these over."""
    bench.say("killing ingest and starting it again")
    folder = bench.folder / "restarting"
    folder.mkdir()
    # Longer than it takes to be killed, started again and to find the batches.
    work = Work(batches=3, batch_size=500, slots=3, seconds=60, poll_min=2, poll_max=5)
    with bench.mariadb.database() as name:
        url = bench.mariadb.url(name)
        queue_contacts(work, url, folder).dispose()
        with running_sandbox(work.seconds) as sandbox, local_server(folder / "home"):
            environment = environment_of(work, url, folder / "home", sandbox)
            with running(["ingest"], environment, folder / "killed.log") as command:
                wait_until(lambda: sandbox.operations().get("status", 0) >= work.batches, command)
                command.kill()
                killed, before = time.time(), _useful(sandbox)
            with running(["ingest"], environment, folder / "restarted.log") as command:
                seconds = wait_until(lambda: _useful(sandbox) > before, command) - killed
    return [Row("kill -9 of ingest and restart, to the next useful request", seconds, "s", most=30)]


def _useful(sandbox: Sandbox) -> int:
    operations = sandbox.operations()
    return sum(operations.get(operation, 0) for operation in _USEFUL)
