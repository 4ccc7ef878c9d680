"""Heartbeats of runs: a run that sends none any more is dead, and an automation says so."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from prefect import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.events.related import tags_as_related_resources
from prefect.events.schemas.events import Event, Resource

__all__ = ["HEARTBEAT", "sends_heartbeats"]

HEARTBEAT = "prefect.flow-run.heartbeat"
"""Prefect's own name for them: the automation of an older setup expects it, and so do the runs of older workers."""

BEAT_SECONDS = 30.0
_POST_SECONDS = 10.0
_WAIT_AT_THE_END = 5.0

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_R = TypeVar("_R")


def sends_heartbeats(body: Callable[_P, Coroutine[Any, Any, _R]]) -> Callable[_P, Coroutine[Any, Any, _R]]:
    """Makes a flow's run tell the Prefect server every 30 s that it lives, until its end; stands below ``@flow``.

    Prefect's engine tells so until the server has answered that the run has ended, and a heartbeat after the end
    makes it look dead (PrefectHQ/prefect#18653). These stop before the end is reported.
    """

    @wraps(body)
    async def beating(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        context = FlowRunContext.get()
        if context is None or context.flow_run is None:
            return await body(*args, **kwargs)
        run = _Run(context, context.flow_run)
        _pulse.begin(run)
        try:
            return await body(*args, **kwargs)
        finally:
            # The server should have it before the end. Where it is too slow, the time that the heartbeat tells will do.
            await asyncio.wait([asyncio.wrap_future(_pulse.end(run))], timeout=_WAIT_AT_THE_END)

    return beating


class _Run:
    def __init__(self, context: FlowRunContext, run: FlowRun) -> None:
        self._context = context
        self._run = run
        # The server tells the time of the end by its own clock, which this machine's may be ahead of.
        self._ahead = datetime.now(UTC) - run.state.timestamp if run.state else timedelta()

    @property
    def is_suspended(self) -> bool:
        """True once somebody has suspended it: it comes to its end, and is silent until somebody resumes it."""
        return self._context.flow_run_suspension_request.is_requested()

    def heartbeat(self) -> dict[str, Any]:
        event = Event(
            event=HEARTBEAT,
            occurred=datetime.now(UTC) - self._ahead,
            resource=Resource(
                {"prefect.resource.id": f"prefect.flow-run.{self._run.id}", "prefect.resource.name": self._run.name}
            ),
            related=tags_as_related_resources(set(self._run.tags)),
        )
        return event.model_dump(mode="json")


class _Pulse:
    # One thread, and one request a beat, for all runs of this process, as long as there are any. A thread, because an
    # event loop that is busy with a large download must not look dead.

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = set[_Run]()
        self._all_ended = threading.Event()
        self._post = Future[None]()
        self._post.set_result(None)

    def begin(self, run: _Run) -> None:
        with self._lock:
            if not self._runs:
                self._all_ended = threading.Event()
                # In a context of its own, which has the address of the server.
                beat = partial(copy_context().run, self._beat, self._all_ended)
                threading.Thread(target=beat, name="run-heartbeat", daemon=True).start()
            self._runs.add(run)

    def end(self, run: _Run) -> Future[None]:
        """Ends the heartbeats of a run; the result comes with the end of what is being sent."""
        with self._lock:
            self._runs.remove(run)
            if not self._runs:
                self._all_ended.set()
            return self._post

    def _beat(self, all_ended: threading.Event) -> None:
        while not all_ended.wait(BEAT_SECONDS):
            with self._lock:
                if all_ended.is_set():
                    return
                heartbeats = [run.heartbeat() for run in self._runs if not run.is_suspended]
                post = self._post = Future[None]()
            try:
                with get_client(sync_client=True, httpx_settings={"timeout": _POST_SECONDS}) as client:
                    client.request("POST", "/events", json=heartbeats)
            except Exception as error:  # noqa: BLE001  # the next one may be taken; silence is noticed
                _log.debug("No heartbeat could be sent: %s", type(error).__name__)
            finally:
                post.set_result(None)


_pulse = _Pulse()
