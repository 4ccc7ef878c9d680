"""The slots of bouncer-batches: held while a batch is in flight, given back, and freed where their holder died."""

import pytest
from prefect import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from sqlalchemy import Engine

from blocks.access import Access, open_access
from bouncer.batches import ownership
from bouncer.batches.state import BatchWork
from bouncer.errors import BatchLost
from bouncer.queue import claiming
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch
from bouncer.verdicts.freshness import FreshFor
from tasks.batches.ownership import owned_batch
from tasks.batches.recovery import recover
from tasks.batches.slots import batch_slot
from tests.bouncer.contacts import set_back
from tests.bouncer.storage.existing_tables import execute, on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue

pytestmark = on_sqlite


async def _slots_held() -> int:
    async with get_client() as client:
        return (await client.read_global_concurrency_limit_by_name("bouncer-batches")).active_slots


def _own(engine: Engine, owner: str) -> BatchWork:
    claimed = write(engine, claiming.claim, "default", batches=1, batch_size=10, fresh_for=FreshFor(days=90))
    batch = write(engine, ownership.take, claimed.batches[0].id, owner)
    assert batch is not None
    return batch


async def _lose_in_a_slot(access: Access, batch: BatchWork) -> None:
    async with batch_slot(access, batch):
        raise BatchLost("Bouncer does not know the batch")


async def test_a_slot_is_given_back_however_the_batch_ends(set_up_account: SetUpAccount) -> None:
    """While the batch is in flight one slot is held; an error gives it back too."""
    engine = await set_up_account()
    queue(engine, addresses(3))
    batch = _own(engine, "me")
    async with open_access("default", "me") as access:
        async with batch_slot(access, batch):
            assert await _slots_held() == 1
        assert await _slots_held() == 0
        with pytest.raises(BatchLost):
            await _lose_in_a_slot(access, batch)
        assert await _slots_held() == 0


async def _count(slots: int) -> None:
    async with get_client() as client:
        await client.update_global_concurrency_limit(
            "bouncer-batches", GlobalConcurrencyLimitUpdate(active_slots=slots)
        )


@pytest.fixture
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.batches.slot_repair._BETWEEN_LOOKS_SECONDS", 0.0)
    monkeypatch.setattr("tasks.batches.recovery.SIGN_OF_LIFE_SECONDS", 0.0)


@pytest.mark.usefixtures("_without_waiting")
@pytest.mark.mainline
async def test_slots_that_nobody_holds_are_free_again_also_while_runs_wait_for_one(
    set_up_account: SetUpAccount,
) -> None:
    """A server that forgot its leases counts their slots for ever; runs that wait for a slot are alive all the time."""
    engine = await set_up_account()
    queue(engine, addresses(3))
    _own(engine, "a living run, which waits for a slot")
    await _count(5)
    async with open_access("default", "me") as access:
        recovered = await recover(access)
        assert (recovered.slots, await _slots_held()) == (5, 0)
        execute(engine, "UPDATE Bouncer_Batches SET owner = NULL")
        (waiting,) = (await recover(access)).waiting
        assert (waiting.quantity, waiting.request_id) == (3, 1)


@pytest.mark.usefixtures("_without_waiting")
async def test_slots_that_living_runs_hold_stay_theirs(set_up_account: SetUpAccount) -> None:
    """Only those go that no batch in flight has in its row."""
    engine = await set_up_account()
    queue(engine, addresses(3))
    batch = _own(engine, "me")
    async with open_access("default", "me") as access, batch_slot(access, batch):
        await _count(5)
        recovered = await recover(access)
        assert (recovered.slots, await _slots_held()) == (4, 1)


async def test_a_slot_that_was_just_taken_stays_its_holders(
    set_up_account: SetUpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the server's answer and the commit a lease is in no row; it is looked at more than once."""
    engine = await set_up_account()
    queue(engine, addresses(3))
    batch = _own(engine, "me")
    async with open_access("default", "me") as access, batch_slot(access, batch):
        write(engine, ownership.record_lease, batch, None)

        async def meanwhile(_seconds: float) -> None:
            write(engine, ownership.record_lease, batch, "9d2f2c1e-0000-4000-8000-000000000000")

        monkeypatch.setattr("tasks.batches.slot_repair.sleep_unless_stopping", meanwhile)
        assert (await recover(access)).slots == 0
        assert await _slots_held() == 1


async def test_who_steps_aside_for_others_is_not_counted_as_a_holder(
    set_up_account: SetUpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that waits without its slot keeps no lease in its row, or leaked slots would look like its own."""
    engine = await set_up_account()
    queue(engine, addresses(3))
    batch = _own(engine, "me")
    held: list[int] = []

    async def meanwhile(_seconds: float) -> None:
        held.append(read(engine, ownership.count_held_slots, "default"))

    async with open_access("default", "me") as access, batch_slot(access, batch) as slot:
        held.append(read(engine, ownership.count_held_slots, "default"))
        monkeypatch.setattr("tasks.batches.slots.sleep_unless_stopping", meanwhile)
        await slot.step_aside()
        held.append(read(engine, ownership.count_held_slots, "default"))
    assert held == [1, 0, 1]


async def test_slots_of_living_runs_stay_theirs_after_an_outage_of_the_database(set_up_account: SetUpAccount) -> None:
    """All heartbeats are old then; a run that starts first of all must not give the slots of the others back."""
    engine = await set_up_account()
    queue(engine, addresses(3))
    claimed = write(engine, claiming.claim, "default", batches=1, batch_size=10, fresh_for=FreshFor(days=90))
    async with owned_batch(claimed.batches[0].id) as (access, batch):
        assert batch is not None
        async with batch_slot(access, batch):
            set_back(engine, Batch.heartbeat_ts, 60)
            recovered = await recover(access)
            assert (recovered.slots, recovered.waiting, await _slots_held()) == (0, [], 1)
            assert read(engine, ownership.count_held_slots, "default") == 1
