"""The limiter: nothing passes unlimited, and a server that is away is waited for."""

import asyncio
import os
import signal
from pathlib import Path
from unittest.mock import AsyncMock

import httpx
import pytest
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.events import emit_event
from prefect.events.clients import AssertingEventsClient
from prefect.events.worker import EventsWorker

from blocks import limiter
from blocks.limiter import PrefectLimiter
from bouncer.accounts.call_statistics import Call
from bouncer.errors import LimitsMissing, OrchestratorUnavailable
from deployments.server.local_server import LocalServer


async def _make(name: str, *, decay: float = 100.0) -> None:
    async with get_client() as client:
        await client.create_global_concurrency_limit(
            GlobalConcurrencyLimitCreate(name=name, limit=100, slot_decay_per_second=decay)
        )


async def _take(call: Call, *limits: str) -> None:
    async with get_client() as client:
        await PrefectLimiter(client, *limits).acquire(call)


@pytest.mark.mainline
async def test_a_request_without_a_limit_does_not_pass(prefect_server: LocalServer) -> None:
    """A limit that does not exist would hold nothing; the message names it and what to run."""
    with pytest.raises(LimitsMissing, match="limit no-such-limit is missing or wrong; run bouncer-flows setup"):
        await _take(Call.STATUS, "no-such-limit", "no-uploads", "no-realtime")


async def test_an_upload_without_its_own_limit_does_not_pass(prefect_server: LocalServer) -> None:
    """An upload needs both limits; that the one on all requests exists is not enough."""
    await _make("limiter-test-api")
    await _take(Call.STATUS, "limiter-test-api", "no-uploads", "no-realtime")
    with pytest.raises(LimitsMissing, match="limit no-uploads is missing or wrong"):
        await _take(Call.CREATE, "limiter-test-api", "no-uploads", "no-realtime")


async def test_a_limit_without_decay_does_not_pass(prefect_server: LocalServer) -> None:
    """A limit that gives no token back would pass a hundred requests and then none for ever."""
    await _make("limiter-test-slots", decay=0)
    with pytest.raises(LimitsMissing, match="limit limiter-test-slots is missing or wrong"):
        await _take(Call.STATUS, "limiter-test-slots", "no-uploads", "no-realtime")


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_a_server_that_refuses_is_not_taken_for_a_limit_that_is_missing(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads "run setup" runs it in vain where a password has changed, or where the server is busy."""
    monkeypatch.setattr(limiter, "OUTAGE_SECONDS", 0.0)
    request = httpx.Request("POST", "http://127.0.0.1/increment")
    refusal = httpx.HTTPStatusError("refused", request=request, response=httpx.Response(status, request=request))
    server = AsyncMock(spec=PrefectClient)
    server.increment_concurrency_slots.side_effect = refusal
    with pytest.raises(OrchestratorUnavailable, match=f"the Prefect server answers {status}; look at it"):
        await PrefectLimiter(server, "api", "uploads", "realtime").acquire(Call.STATUS)


async def test_tokens_leave_no_events_on_the_server(prefect_server: LocalServer) -> None:
    """A batch asks Bouncer dozens of times; an event of each would be much of what a team's Prefect server stores."""
    await _make("limiter-test-quiet")
    EventsWorker.set_client_override(AssertingEventsClient)
    try:
        await _take(Call.STATUS, "limiter-test-quiet", "no-uploads", "no-realtime")
        emit_event("bouncer-flows.asked", {"prefect.resource.id": "bouncer-flows.test"})
        await asyncio.to_thread(EventsWorker.instance().wait_until_empty)
        emitted = [event.event for client in AssertingEventsClient.all for event in client.events]
    finally:
        EventsWorker.set_client_override(None)
        AssertingEventsClient.reset()
    assert emitted == ["bouncer-flows.asked"]


async def test_a_server_that_restarts_is_waited_for(prefect_server: LocalServer, prefect_home: Path) -> None:
    """A request that is due while the Prefect server is away passes once it is back, and not before."""
    await _make("limiter-test-restart")
    os.kill(int((prefect_home / "server.pid").read_text()), signal.SIGKILL)
    await _take(Call.STATUS, "limiter-test-restart", "no-uploads", "no-realtime")
    async with get_client() as client:
        limit = await client.read_global_concurrency_limit_by_name("limiter-test-restart")
    assert limit.active_slots <= 1
