"""Bouncer's limits, held by several processes at once and measured at Bouncer's side."""

import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.bouncer.storage.existing_tables import on_mariadb
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue, statuses
from tests.deployments.running_commands import Started
from tests.sandbox_process import running_sandbox

_INGESTS = 2
_ASKING = 2
_REQUESTS = 240
"""More than a minute holds, so that the windows of 60 s have slid well past the burst of the beginning."""

_within_two_minutes = retry(
    retry=retry_if_exception_type(AssertionError), wait=wait_fixed(1), stop=stop_after_delay(150), reraise=True
)


@on_mariadb
@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.scenario
async def test_four_processes_never_pass_200_requests_in_any_minute(
    set_up_account: SetUpAccount, database_url: str, tmp_path: Path
) -> None:
    """However many processes work at once, no 60 seconds hold more than 200 requests, nor are 16 batches in flight.

    Two ingests have more batches than fit, and two processes ask for the state of one as often as they may: polls that
    come when a batch may be done would not fill a minute.
    """
    with running_sandbox(fixed_seconds=60) as bouncer, ExitStack() as stack:
        engine = await set_up_account(
            bouncer_api_base_url=bouncer.url, batch_size=5, rate_limit_per_minute=200, max_concurrent_batches=15
        )
        queue(engine, addresses(1000))
        running = [
            stack.enter_context(Started(["ingest", "--json"], tmp_path, DATABASE_URL=database_url))
            for _ in range(_INGESTS)
        ]

        @_within_two_minutes
        async def something_is_in_flight() -> None:
            assert bouncer.batches()

        await something_is_in_flight()
        asked = bouncer.batches()[0]["id"]
        for _ in range(_ASKING):
            asking = subprocess.Popen([sys.executable, "-m", "tests.flows.asking", asked])  # noqa: ASYNC220  # it only starts it
            stack.callback(asking.wait)
            stack.callback(asking.kill)

        @_within_two_minutes
        async def enough_was_sent() -> None:
            assert bouncer.ledger()["requests"] >= _REQUESTS

        await enough_was_sent()
        ledger = bouncer.ledger()
        assert [process.err for process in running if process.code is not None] == []
        for process in running:
            process.send(signal.SIGTERM)
        ends = [process.ended(60) for process in running]
    assert set(ledger["answers_by_status"]) == {"200"}
    assert 140 <= ledger["most_requests_in_60s"] <= 200
    assert ledger["most_uploads_in_60s"] <= 60
    assert (ledger["most_in_flight"], ledger["batches_over_limit"]) == (15, 0)
    assert [(end.code, end.answer["outcome"]) for end in ends] == [(2, "stopped")] * _INGESTS
    assert statuses(engine).get("failed", 0) == 0
