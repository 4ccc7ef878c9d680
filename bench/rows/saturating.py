"""Requests that get through when twelve processes send as many as they can, by Bouncer's own count."""

import asyncio
import os
import subprocess
import sys
import time
from contextlib import ExitStack

from bench.draining import Work, environment_of
from bench.measuring import Bench, Row
from bench.processes import running, usage_so_far
from bench.servers import PROJECT, Sandbox, running_sandbox
from blocks.access import open_access
from deployments.server.local_server import local_server
from tasks.batches.ownership import new_owner

__all__ = ["saturating"]

_PROCESSES = 12
_PER_MINUTE = 200
_SLIDE_SECONDS = 30


def saturating(bench: Bench) -> list[Row]:
    """Lets every process ask for a batch's status again and again, through the client that the flows use."""
    if bench.quick:
        return []
    bench.say(f"sending from {_PROCESSES} processes")
    folder = bench.folder / "saturating"
    folder.mkdir()
    work = Work(batches=1, batch_size=1, slots=15, seconds=3600, poll_min=10, poll_max=30)
    url = f"sqlite:///{folder / 'contacts.sqlite'}"
    with running_sandbox(work.seconds) as sandbox, local_server(folder / "home") as server, ExitStack() as stack:
        environment = environment_of(work, url, folder / "home", sandbox)
        with running(["setup"], environment, folder / "setup.log") as setup:
            setup.wait()
        batch = sandbox.upload(["contact@example.com"])
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        for number in range(_PROCESSES):
            log = stack.enter_context((folder / f"sender-{number}.log").open("wb"))
            sender = subprocess.Popen(  # noqa: S603  # our own interpreter and constants
                [sys.executable, "-m", "bench.rows.saturating", batch],
                cwd=PROJECT,
                env={**inherited, "PREFECT_API_URL": server.api_url},
                stderr=log,
            )
            stack.callback(sender.kill)
        # The burst of the beginning, and a minute in which it slides out of the window.
        _wait_for_requests(sandbox, 20)
        time.sleep(_SLIDE_SECONDS)
        pid = int((folder / "home" / "server.pid").read_text())
        before, cpu_before = sandbox.ledger()["requests"], usage_so_far(pid).cpu_seconds
        time.sleep(60)
        ledger = sandbox.ledger()
        cpu_seconds = usage_so_far(pid).cpu_seconds - cpu_before
    requests = ledger["requests"] - before
    what = f"{_PROCESSES} processes send all they can"
    return [
        Row(f"{what}: most requests in any 60 s", ledger["most_requests_in_60s"], "requests", most=_PER_MINUTE),
        Row(f"{what}: requests a minute", requests, "requests", least=150),
        Row(f"{what}: the Prefect server's processor time for each", 1000 * cpu_seconds / requests, "ms"),
    ]


def _wait_for_requests(sandbox: Sandbox, count: int) -> None:
    end = time.monotonic() + 120
    while sandbox.ledger()["requests"] < count:
        if time.monotonic() > end:
            raise RuntimeError("nothing was sent")
        time.sleep(0.1)


async def _send(batch: str) -> None:
    async with open_access("default", new_owner()) as access:
        while True:
            await asyncio.gather(*(access.client.batch_progress(batch) for _ in range(5)))


if __name__ == "__main__":
    asyncio.run(_send(sys.argv[1]))
