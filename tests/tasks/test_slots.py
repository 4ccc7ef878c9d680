"""The slots of bouncer-batches: held while a batch is in flight, given back, and freed where their holder died."""

import pytest
from prefect import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from sqlalchemy import Engine

from blocks.access import Access, open_access
from bouncer import batches, claiming
from bouncer.batches import BatchWork
from bouncer.database import write
from bouncer.errors import BatchLost
from bouncer.reusing import FreshFor
from tasks.recover import recover
from tasks.slots import batch_slot
from tests.bouncer.existing_tables import execute, on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue

pytestmark = on_sqlite


async def _slots_held() -> int:
    async with get_client() as client:
        return (await client.read_global_concurrency_limit_by_name("bouncer-batches")).active_slots


def _own(engine: Engine, owner: str) -> BatchWork:
    claimed = write(engine, claiming.claim, "default", batches=1, batch_size=10, fresh_for=FreshFor(days=90))
    batch = write(engine, batches.take, claimed.batches[0].id, owner)
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


async def test_slots_of_dead_runs_are_free_again(set_up_account: SetUpAccount) -> None:
    """Slots that runs held which were killed do not hold up the next ingest; those of living runs stay."""
    engine = await set_up_account()
    queue(engine, addresses(3))
    _own(engine, "a living run")
    async with get_client() as client:
        await client.update_global_concurrency_limit("bouncer-batches", GlobalConcurrencyLimitUpdate(active_slots=5))
    async with open_access("default", "me") as access:
        await recover(access)
        assert await _slots_held() == 5
        execute(engine, "UPDATE Bouncer_Batches SET owner = NULL")
        (waiting,) = (await recover(access)).waiting
        assert (waiting.quantity, waiting.request_id) == (3, 1)
        assert await _slots_held() == 0
