"""Flow verify-batch by itself: run at any time, it goes on where the batch stands and does nothing twice."""

import asyncio
from contextlib import suppress
from typing import cast

import pytest
from prefect.client.schemas.objects import State
from sqlalchemy import Engine, update
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed, wait_none

from bouncer.queue import claiming
from bouncer.requests.counting import count_batches
from bouncer.steps.load import LANES
from bouncer.stopping import ask_to_stop, forget_stop
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch
from bouncer.verdicts.freshness import FreshFor
from flows.verify_batch import verify_batch
from tasks.batches.ownership import owned_batch
from tests.bouncer.contacts import batch_rows, set_back
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, assert_verified_once, queue, statuses
from tests.flows.runs import ingested, until_it_holds
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
    assert first.message == "20 contacts settled, 0 requeued"
    assert_verified_once(engine, sandbox, contacts=20)
    requests = sandbox.ledger()["requests"]
    second = await _run(batch)
    assert second.is_completed()
    assert second.message == "Nothing to do: this batch is settled"
    assert sandbox.ledger()["requests"] == requests


@pytest.mark.mainline
async def test_a_batch_that_another_run_works_on_is_left_alone(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch has one owner at a time; a second run waits as long as a dead one would be silent, and sends nothing."""
    monkeypatch.setattr("tasks.batches.ownership.HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr("tasks.batches.ownership.STALE_SECONDS", 0.8)
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


@pytest.mark.mainline
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


async def test_a_batch_whose_download_can_never_be_read_does_not_keep_its_contacts_for_ever(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a deadline, counted over all runs, its contacts are requeued, and the double payment is declared."""
    monkeypatch.setattr("bouncer.api.client.between_attempts", wait_none())
    engine = await set_up_account(batch_deadline_seconds=3600)
    queue(engine, addresses(20))
    batch = _claim_one(engine)
    sandbox.fault("garbled")
    stopping = asyncio.create_task(_run(batch))
    await _until_unreadable(engine)
    stopping.cancel()
    with suppress(asyncio.CancelledError):
        await stopping
    assert statuses(engine) == {"assigned": 20}
    write(engine, lambda c: c.execute(update(Batch).values(owner=None)))
    set_back(engine, Batch.unreadable_ts, 3601)
    state = await _run(batch)
    assert (state.name, state.is_failed()) == ("Lost", True)
    assert state.message is not None
    assert "a download cannot be parsed" in state.message
    assert statuses(engine) == {"queued": 20}
    charged = sandbox.ledger()["credits_charged"]
    assert read(engine, count_batches).possible_double_payments == charged > 0


@retry(retry=retry_if_exception_type(AssertionError), wait=wait_fixed(0.1), stop=stop_after_delay(30), reraise=True)
async def _until_unreadable(engine: Engine) -> None:
    (batch,) = batch_rows(engine)
    assert batch.unreadable_ts is not None


async def test_batches_whose_downloads_cannot_be_read_do_not_keep_others_from_being_loaded(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than a process loads at a time wait for their next download, and the others are loaded meanwhile."""
    monkeypatch.setattr("bouncer.api.client.between_attempts", wait_none())
    engine = await set_up_account(batch_size=10, poll_seconds_min=1, poll_seconds_max=1, batch_deadline_seconds=4)
    queue(engine, addresses(40))
    sandbox.fault("garbled", times=3)
    summary, _ = await ingested()
    assert (summary.outcome, summary.verified, summary.batches) == ("drained", 40, 7)
    lost = [batch.id for batch in batch_rows(engine) if batch.status == "failed"]
    whole = [batch for batch in batch_rows(engine)[:4] if batch.id not in lost]
    assert (len(lost), len(whole)) == (3, 1)
    ended = {batch.id: batch.completed_ts for batch in batch_rows(engine)}
    assert ended[whole[0].id] < min(ended[id_] for id_ in lost)


async def test_downloads_that_wait_out_a_429_do_not_keep_others_from_being_loaded(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """As many of them as a process loads at a time are told to come back later, and the others are loaded meanwhile."""
    engine = await set_up_account(batch_size=10, poll_seconds_min=1, poll_seconds_max=1)
    queue(engine, addresses(30))
    sandbox.fault("status", operation="download", code=429, retry_after=100, times=LANES)
    running = asyncio.create_task(ingested())

    @until_it_holds
    async def the_others_are_loaded() -> None:
        assert statuses(engine) == {"completed": 10, "assigned": 20}

    await the_others_are_loaded()
    ask_to_stop()
    await running
    forget_stop()


async def test_a_refused_finish_is_asked_again_and_not_taken_for_one(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """A batch without progress whose finish Bouncer refuses is not given up and sent again; it is asked until it is."""
    engine = await set_up_account(batch_deadline_seconds=1, poll_seconds_min=0.2, poll_seconds_max=0.3)
    queue(engine, addresses(20))
    batch = _claim_one(engine)
    sandbox.fault("stuck", fraction=0.5)
    sandbox.fault("finish_refused", times=None)
    running = asyncio.create_task(_run(batch))

    @until_it_holds
    async def asked_thrice() -> None:
        assert sandbox.ledger()["requests_by_operation"].get("finish", 0) >= 3

    await asked_thrice()
    (row,) = batch_rows(engine)
    assert row.finish_requested_ts is None
    sandbox.clear_faults()
    state = await running
    assert state.message == "10 contacts settled, 10 requeued"
    ledger = sandbox.ledger()
    assert (ledger["batches"], ledger["finished"], ledger["addresses_charged_twice"]) == (1, 1, 0)
