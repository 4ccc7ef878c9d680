"""Watches the queue: contacts that wait start ``dispatch`` and ``check-health``, and nothing else does.

Looking takes the database alone, and no flow run. The schedules are there in case nobody watches.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound, PrefectException
from sqlalchemy import Engine

from blocks.access import open_database
from bouncer.errors import BouncerFlowsError, SettingRefused
from bouncer.installation import FlowName, here
from bouncer.monitoring.signs_of_work import SignsOfWork, signs_of_work
from deployments.serving.stop_signals import stop_signals
from deployments.serving.upcoming_runs import name_upcoming_runs
from deployments.terminal.console import say

__all__ = ["AGAIN_SECONDS", "Watch", "watch_queue", "watch_until_stopped"]

AGAIN_SECONDS = 60.0
"""Flows run so often while there is work or an alert is in force: what a crash left behind is theirs to find."""

_NAME_SECONDS = 300.0
"""Upcoming runs get their names so often: for each that begins the scheduler adds one, for an hour later at least."""

_HEAD_START_SECONDS = 15.0
"""A check is begun so long after the work: two processes that start at once on a small machine take twice the time."""

_LOOK_SECONDS = 5.0
_WORKING_SECONDS = 6.0
"""The process that runs the flows asks for runs so often while contacts wait or batches are under way."""

_DISPATCH: FlowName = "dispatch"
_CHECK: FlowName = "check-health"


class Watch:
    """Decides which flows are due."""

    def __init__(self) -> None:
        self._newest = -1
        self._open_since: float | None = None
        self._began: dict[str, float] = {}

    def due(self, signs: SignsOfWork, now: float) -> list[FlowName]:
        """Names the flows to start now.

        Args:
            signs: The state of the queue.
            now: The moment, in seconds.
        """
        if not signs.is_open:
            self._open_since = None
        elif self._open_since is None:
            # Contacts that are requeued have no new rows.
            self._open_since, self._newest = now, -1
        # Somebody who has just queued contacts is not kept waiting.
        is_new = signs.is_open and signs.newest > self._newest
        has_begun = self._open_since is not None and now - self._open_since >= _HEAD_START_SECONDS
        wanted = {_DISPATCH: signs.is_open, _CHECK: has_begun or signs.is_alarmed}
        return [
            flow
            for flow, is_wanted in wanted.items()
            if is_wanted
            and ((flow == _DISPATCH and is_new) or now - self._began.get(flow, -AGAIN_SECONDS) >= AGAIN_SECONDS)
        ]

    def began(self, flow: str, signs: SignsOfWork, now: float) -> None:
        """Takes note that a flow was started for what was seen."""
        self._began[flow] = now
        if flow == _DISPATCH:
            self._newest = signs.newest


async def watch_queue(
    engine: Engine, seconds: float = _LOOK_SECONDS, take_up: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Looks at the queue, over and over, and starts the deployments that are due; never ends by itself.

    Names upcoming runs, too, each five minutes.

    Args:
        engine: Of the contacts database.
        seconds: How often it looks.
        take_up: Asks for runs and begins them, where this process runs them: at once after a start, often while there
            is work, and never while there is none.
    """
    watch = Watch()
    last: dict[str, UUID] = {}
    named, asked = -_NAME_SECONDS, -AGAIN_SECONDS
    is_told = False
    # One client: each new one asks the server for a CSRF token before its first change.
    async with get_client() as client:
        while True:
            try:
                if time.monotonic() - named >= _NAME_SECONDS:
                    await name_upcoming_runs(client)
                    named = time.monotonic()
                signs = await asyncio.to_thread(signs_of_work, engine)
                for flow in watch.due(signs, time.monotonic()):
                    run = await _start(client, flow, last.get(flow))
                    if run is not None:
                        last[flow] = run
                        watch.began(flow, signs, time.monotonic())
                        asked = -AGAIN_SECONDS
                        is_told = False
                if take_up is not None and signs.is_open and time.monotonic() - asked >= _WORKING_SECONDS:
                    await take_up()
                    asked = time.monotonic()
            except SettingRefused as refused:
                if not is_told:
                    say(str(refused))
                    is_told = True
                await asyncio.sleep(_LOOK_SECONDS)
            except (BouncerFlowsError, httpx.HTTPError, PrefectException):
                # A server or a database that is away comes back; the schedules are there too.
                await asyncio.sleep(_LOOK_SECONDS)
            await asyncio.sleep(seconds)


async def watch_until_stopped() -> None:
    """Watches the queue for runs on workers, until SIGINT or SIGTERM."""
    with stop_signals():
        engine = await open_database()
        say("watching the queue; Ctrl-C ends it")
        await watch_queue(engine)


async def _start(client: PrefectClient, flow: FlowName, last: UUID | None) -> UUID | None:
    if last is not None and await _is_under_way(client, last):
        return None
    try:
        deployment = await client.read_deployment_by_name(here().deployment_of(flow))
    except ObjectNotFound:
        raise SettingRefused(
            "contacts wait, and their deployment is not on the Prefect server; run bouncer-flows deploy"
        ) from None
    schedules = deployment.schedules
    # Whoever switches its schedule off in the UI wants none of its runs.
    if deployment.paused or (schedules and not any(schedule.active for schedule in schedules)):
        return None
    tags = [here().tag, "tick"]
    return (await client.create_flow_run_from_deployment(deployment.id, name=f"{flow}: work waits", tags=tags)).id


async def _is_under_way(client: PrefectClient, run: UUID) -> bool:
    # Two at a time would have the later one cancelled.
    try:
        state = (await client.read_flow_run(run)).state
    except ObjectNotFound:
        return False
    return state is not None and not state.is_final()
