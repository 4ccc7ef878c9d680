"""Heartbeats of runs: all are sent before the end, whatever the Prefect server does."""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import Pause
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Suspended
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from blocks.run_tags import marked
from deployments.setup.deployments_from_yaml import written_deployments
from tasks.running.heartbeats import HEARTBEAT, sends_heartbeats
from tests.flows.runs import events, until_it_holds
from tests.passing_on import METHODS, PassingOn, listening

if TYPE_CHECKING:
    from deployments.server.local_server import LocalServer


class _Slow:
    """A server that is slow with heartbeats, or refuses them; notes ends, and how many heartbeats it has taken at once.

    Args:
        server: The API behind it.
        refuses: Whether it refuses.
    """

    def __init__(self, server: str, *, refuses: bool = False) -> None:
        self._behind = PassingOn(server)
        self._refuses = refuses
        self._ended = asyncio.Event()
        self.is_asked = threading.Event()
        self.taken: list[str | int] = []

    async def pass_on(self, request: Request) -> Response:
        path = request.path_params["path"]
        if path.endswith("/set_state") and json.loads(await request.body())["state"]["type"] == "COMPLETED":
            self._ended.set()
            self.taken.append("end")
        if path != "events":
            return await self._behind.request(request, path)
        self.is_asked.set()
        if self._refuses:
            return Response(status_code=500)
        # Nothing but the end can come meanwhile, if the run does not wait for this.
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), 0.5)
        answer = await self._behind.request(request, path)
        self.taken.append(len(await request.json()))
        return answer

    async def pass_socket_on(self, socket: WebSocket) -> None:
        await self._behind.socket(socket, socket.path_params["path"])


@contextmanager
def _in_front(slow: _Slow) -> Iterator[None]:
    routes = [
        WebSocketRoute("/api/{path:path}", slow.pass_socket_on),
        Route("/api/{path:path}", slow.pass_on, methods=METHODS),
    ]
    with listening(Starlette(routes=routes)) as origin, temporary_settings({PREFECT_API_URL: f"{origin}/api"}):
        yield


async def _ended(slow: _Slow) -> State[str]:
    @flow(name="long enough for a heartbeat", persist_result=False)
    @sends_heartbeats
    async def long_enough(answer: str) -> str:
        await asyncio.to_thread(slow.is_asked.wait, 60)
        return answer

    with _in_front(slow), marked():
        return await long_enough("as ever", return_state=True)


async def _of(run: State[str], event: str) -> list[dict[str, Any]]:
    resource = f"prefect.flow-run.{run.state_details.flow_run_id}"
    return [one for one in await events(event) if one["resource"]["prefect.resource.id"] == resource]


@pytest.fixture
def quick_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.running.heartbeats.BEAT_SECONDS", 0.1)
    # A busy machine may take its time.
    monkeypatch.setattr("tasks.running.heartbeats._POST_SECONDS", 60.0)
    monkeypatch.setattr("tasks.running.heartbeats._WAIT_AT_THE_END", 60.0)


@pytest.mark.usefixtures("quick_heart")
async def test_a_run_that_ended_well_was_crashed(prefect_server: "LocalServer") -> None:
    """A heartbeat that a slow server took after the run's end made it look dead; each is taken before it."""
    slow = _Slow(prefect_server.api_url)
    state = await _ended(slow)
    assert await state.aresult() == "as ever"
    assert slow.taken[-1] == "end"
    sent = slow.taken.count(1)
    assert sent >= 1

    @until_it_holds
    async def stored() -> None:
        ends = await _of(state, "prefect.flow-run.Completed")
        # Prefect's own says its version.
        heartbeats = [one for one in await _of(state, HEARTBEAT) if "prefect.version" not in one["resource"]]
        assert (len(ends), len(heartbeats)) == (1, sent)
        for one in heartbeats:
            assert datetime.fromisoformat(one["occurred"]) < datetime.fromisoformat(ends[0]["occurred"])
            assert "prefect.tag.installation:bouncer" in [about["prefect.resource.id"] for about in one["related"]]

    await stored()


@pytest.mark.usefixtures("quick_heart")
async def test_a_server_that_takes_no_heartbeats_harms_no_run(
    prefect_server: "LocalServer", caplog: pytest.LogCaptureFixture
) -> None:
    """Its end is what its body made it, and nobody is told."""
    slow = _Slow(prefect_server.api_url, refuses=True)
    state = await _ended(slow)
    assert await state.aresult() == "as ever"
    assert slow.taken == ["end"]
    assert not [one for one in caplog.records if one.name.startswith("tasks.") and one.levelno > logging.DEBUG]


@pytest.mark.usefixtures("quick_heart")
async def test_a_suspended_run_that_comes_to_its_end_is_not_expected_to_go_on(prefect_server: "LocalServer") -> None:
    """Its last heartbeat would have it crashed while it waits to be resumed."""
    slow = _Slow(prefect_server.api_url)

    @flow(name="suspended", persist_result=False)
    @sends_heartbeats
    async def suspended() -> None:
        context = FlowRunContext.get()
        assert context is not None
        context.flow_run_suspension_request.mark_requested(Suspended())
        await asyncio.to_thread(slow.is_asked.wait, 60)

    with _in_front(slow), marked(), pytest.raises(Pause):
        await suspended()
    assert set(slow.taken) == {0}


def test_every_flow_sends_heartbeats() -> None:
    """The runs of one that does not would be crashed after 90 s."""
    places = [one["entrypoint"].rpartition(".") for one in written_deployments()]
    flows = [getattr(import_module(module), name) for module, _, name in places]
    silent = [one.name for one in flows if one.fn.__code__ is not sends_heartbeats(one.fn).__code__]
    assert flows
    assert not silent
