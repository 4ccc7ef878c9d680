"""Flow verify-batch by itself: run at any time, it goes on where the batch stands and does nothing twice."""

from typing import cast

import pytest
from prefect.client.schemas.objects import State
from sqlalchemy import Engine

from bouncer import claiming
from bouncer.database import write
from bouncer.reusing import FreshFor
from flows.verify_batch import verify_batch
from tasks.ownership import owned_batch
from tests.bouncer.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, assert_verified_once, queue, statuses
from tests.sandbox_process import SandboxHandle

pytestmark = on_sqlite


def _claim_one(engine: Engine) -> int:
    claimed = write(engine, claiming.claim, "default", batches=1, batch_size=100, fresh_for=FreshFor(days=90))
    (batch,) = claimed.batches
    return batch.id


async def _run(batch: int) -> State[None]:
    return cast("State[None]", await verify_batch(batch, return_state=True))


async def test_a_batch_is_verified_and_a_rerun_by_hand_does_nothing(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """A batch that is settled stays as it is when somebody runs it again in the UI, and no request is sent."""
    engine = await set_up_account()
    queue(engine, addresses(20))
    batch = _claim_one(engine)
    first = await _run(batch)
    assert first.is_completed()
    assert first.message == "20 contacts settled, 0 queued again"
    assert_verified_once(engine, sandbox, contacts=20)
    requests = sandbox.ledger()["requests"]
    second = await _run(batch)
    assert second.is_completed()
    assert second.message == "Nothing to do: this batch is settled"
    assert sandbox.ledger()["requests"] == requests


async def test_a_batch_that_another_run_works_on_is_left_alone(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch has one owner at a time; a second run waits as long as a dead one would be silent, and sends nothing."""
    monkeypatch.setattr("tasks.ownership.HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr("tasks.ownership.STALE_SECONDS", 0.8)
    engine = await set_up_account()
    queue(engine, addresses(20))
    batch = _claim_one(engine)
    async with owned_batch(batch):
        state = await _run(batch)
    assert state.is_completed()
    assert state.message == "Nothing to do: another run works on this batch, or there is no such batch"
    assert sandbox.ledger()["requests"] == 0
    assert statuses(engine) == {"assigned": 20}


async def test_a_batch_that_does_not_exist_is_no_work(set_up_account: SetUpAccount) -> None:
    """A run for a batch that nobody made says so instead of crashing."""
    await set_up_account()
    state = await _run(4711)
    assert state.is_completed()
    assert state.message == "Nothing to do: another run works on this batch, or there is no such batch"


async def test_a_refused_batch_fails_only_the_addresses_that_it_is_about(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """A batch that Bouncer answers 400 to is halved, and says in which batches its contacts are now."""
    engine = await set_up_account()
    queue(engine, addresses(20))
    batch = _claim_one(engine)
    sandbox.fault("status", operation="create", code=400, message="malformed body")
    state = await _run(batch)
    assert (state.name, state.is_completed()) == ("Split", True)
    assert state.message is not None
    assert "malformed body; sent again as batches 2 and 3" in state.message
    assert statuses(engine) == {"assigned": 20}
