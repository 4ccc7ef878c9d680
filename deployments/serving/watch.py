"""Watches the queue, so that ticks need not run in vain: contacts that wait start ``ingest``, and so the batches do.

Looking takes the database alone, and no flow run: what is on a schedule is only there in case nobody watches.
"""

import asyncio
import time
from uuid import UUID

import httpx
from prefect import get_client
from prefect.exceptions import ObjectNotFound, PrefectException
from sqlalchemy import Engine

from blocks.access import open_database
from bouncer.errors import BouncerFlowsError
from bouncer.installation import here
from bouncer.monitoring.signs_of_work import SignsOfWork, signs_of_work
from bouncer.storage.engine import read
from deployments.serving.stop_signals import stop_signals
from deployments.terminal.console import say

__all__ = ["Watch", "watch_queue", "watch_until_stopped"]

LOOK_SECONDS = 5.0

AGAIN_SECONDS = 60.0
"""While there is work, or an alert is in force, the flows run so often, as what a crash left behind is theirs to find."""

_INGEST, _CHECK = "ingest", "check-health"


class Watch:
    """Decides which flows are due.

    Args:
        began: The moment that the watch begins, in seconds.
    """

    def __init__(self, began: float) -> None:
        self._newest = 0
        self._last = dict.fromkeys((_INGEST, _CHECK), began - AGAIN_SECONDS)

    def due(self, signs: SignsOfWork, now: float) -> list[str]:
        """Names the flows to run now, and takes it that they are.

        Args:
            signs: The state of the queue.
            now: The moment, in seconds.
        """
        wanted = {_INGEST: signs.is_open, _CHECK: signs.is_open or signs.is_alarmed}
        due = [flow for flow, is_wanted in wanted.items() if is_wanted and now - self._last[flow] >= AGAIN_SECONDS]
        # Somebody who has just queued contacts is not kept waiting.
        if signs.is_open and signs.newest > self._newest and _INGEST not in due:
            due.append(_INGEST)
        self._newest = signs.newest
        self._last.update(dict.fromkeys(due, now))
        return due


async def watch_queue(engine: Engine, seconds: float = LOOK_SECONDS) -> None:
    """Looks at the queue again and again, and starts the deployments that are due; never ends by itself.

    Args:
        engine: Of the contacts database.
        seconds: How often it looks.
    """
    watch = Watch(time.monotonic())
    started: dict[str, UUID] = {}
    while True:
        try:
            signs = await asyncio.to_thread(read, engine, signs_of_work)
            for flow in watch.due(signs, time.monotonic()):
                started[flow] = await _start(flow, started.get(flow))
        except (BouncerFlowsError, httpx.HTTPError, PrefectException):
            # The next look is soon, and the schedules are there too.
            await asyncio.sleep(AGAIN_SECONDS / 6)
        await asyncio.sleep(seconds)


async def watch_until_stopped() -> None:
    """Watches the queue for runs on workers, until SIGINT or SIGTERM."""
    with stop_signals():
        engine = await open_database()
        say("watching the queue; Ctrl-C ends it")
        await watch_queue(engine)


async def _start(flow: str, last: UUID | None) -> UUID:
    async with get_client() as client:
        if last is not None:
            try:
                state = (await client.read_flow_run(last)).state
            except ObjectNotFound:
                state = None
            # One that waits for a worker or is at work sees what is new by itself.
            if state is not None and not state.is_final():
                return last
        deployment = await client.read_deployment_by_name(f"{flow}/{here().deployment(flow)}")
        if deployment.paused:
            return deployment.id if last is None else last
        run = await client.create_flow_run_from_deployment(
            deployment.id, name=f"{flow} by the watch", tags=[*here().tags, "tick"]
        )
        return run.id
