"""Cost of one look at a batch on this side: an hour-long batch takes 121 of them."""

import asyncio
import os
import subprocess
import sys
import time

from bench.draining import Work, environment_of
from bench.measuring import Bench, Row
from bench.processes import running, usage_so_far
from bench.servers import PROJECT, running_sandbox
from blocks.access import open_access
from deployments.server.local_server import local_server
from tasks.batches.ownership import new_owner

__all__ = ["looking"]

_LOOKS = 15
"""No more than the bucket has tokens, or most of the time would go into asking for tokens in vain."""


def looking(bench: Bench) -> list[Row]:
    """Asks for one batch again and again, each look with its token, its count and its request."""
    bench.say(f"looking at a batch {_LOOKS} times")
    folder = bench.folder / "looking"
    home = folder / "home"
    folder.mkdir()
    work = Work(batches=1, batch_size=1, slots=15, seconds=3600, poll_min=10, poll_max=30)
    with bench.server.database() as name, running_sandbox(work.seconds) as sandbox, local_server(home) as server:
        environment = environment_of(work, bench.server.url(name), home, sandbox)
        with running(["setup"], environment, folder / "setup.log") as setup:
            setup.wait()
        batch = sandbox.upload(["contact@example.com"])
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        with (folder / "looker.log").open("wb") as log:
            told = subprocess.run(  # noqa: S603  # our own interpreter and constants
                [sys.executable, "-m", "bench.rows.looking", batch, (home / "server.pid").read_text()],
                cwd=PROJECT,
                env={**inherited, "PREFECT_API_URL": server.api_url},
                stdout=subprocess.PIPE,
                stderr=log,
                check=True,
            )
    of_ingest, of_server = (float(seconds) / _LOOKS for seconds in told.stdout.split())
    bench.costs.update({"look": of_ingest, "look on the server": of_server})
    return [
        Row("a look at a batch: processor time of ingest", 1000 * of_ingest, "ms"),
        Row("a look at a batch: processor time of the Prefect server", 1000 * of_server, "ms"),
    ]


async def _look(batch: str, server: int) -> tuple[float, float]:
    async with open_access("default", new_owner()) as access:
        # The first one opens connections.
        await access.client.batch_progress(batch)
        before, of_server = time.process_time(), usage_so_far(server).cpu_seconds
        for _ in range(_LOOKS):
            await access.client.batch_progress(batch)
        return time.process_time() - before, usage_so_far(server).cpu_seconds - of_server


if __name__ == "__main__":
    sys.stdout.write("{} {}".format(*asyncio.run(_look(sys.argv[1], int(sys.argv[2])))))
