"""The local Prefect server serves many writers at once on its SQLite file."""

import asyncio

import httpx
import pytest

from deployments.server.local_server import LocalServer

pytestmark = pytest.mark.mainline


async def test_writers_at_once_wait_for_each_other(prefect_server: LocalServer) -> None:
    """No request is turned away with a 503, after which Prefect's client sleeps for seconds: batches stood still."""
    names = [f"bucket-{number}" for number in range(4)]
    async with httpx.AsyncClient(base_url=prefect_server.api_url, timeout=60, trust_env=False) as client:
        for name in names:
            limit = {"name": name, "limit": 1000, "slot_decay_per_second": 5}
            (await client.post("/v2/concurrency_limits/", json=limit)).raise_for_status()
        answers = await asyncio.gather(
            *(
                client.post(
                    "/v2/concurrency_limits/increment", json={"names": [name], "slots": 1, "mode": "rate_limit"}
                )
                for name in names * 15
            )
        )
    assert {answer.status_code for answer in answers} == {200}
