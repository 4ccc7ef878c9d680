"""Loading several batches at a time: one that must wait keeps no other waiting."""

import asyncio

import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from bouncer.queue import claiming
from bouncer.steps import load
from bouncer.storage.engine import write
from bouncer.verdicts.freshness import FreshFor
from flows.verify_batch import verify_batch
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, assert_verified_once, queue, statuses
from tests.sandbox_process import SandboxHandle

pytestmark = on_sqlite


async def test_a_download_that_waits_for_its_next_attempt_keeps_no_other_waiting(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a 503 the only lane is free for the other batch, which is complete before the next attempt."""
    engine = await set_up_account()
    queue(engine, addresses(20))
    claimed = write(engine, claiming.claim, "default", batches=2, batch_size=10, fresh_for=FreshFor(days=90))
    waits = []

    @retry(retry=retry_if_exception_type(AssertionError), wait=wait_fixed(0.05), stop=stop_after_delay(60))
    async def until_the_other_is_loaded(seconds: float) -> None:
        if not waits:
            waits.append(seconds)
        assert statuses(engine).get("completed", 0) == 10

    monkeypatch.setattr(load, "LANES", 1)
    monkeypatch.setattr(load, "sleep_unless_stopping", until_the_other_is_loaded)
    sandbox.fault("status", operation="download", code=503)
    states = await asyncio.gather(*(verify_batch(batch.id, return_state=True) for batch in claimed.batches))
    assert [state.is_completed() for state in states] == [True, True]
    assert len(waits) == 1
    assert_verified_once(engine, sandbox, contacts=20)
