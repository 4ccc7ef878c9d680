"""Flow ``verify-batch``: one batch from its row to its verdicts, from whatever step it has reached."""

from typing import cast

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from blocks.access import Access
from blocks.marks import marked
from bouncer.batches.state import BEFORE_VERDICTS, SETTLED, BatchTitle, BatchWork
from bouncer.errors import (
    AddressesRefused,
    BatchLost,
    NothingToSend,
    OutOfCredits,
    OwnershipLost,
    Paused,
    RequestCancelled,
    Stopped,
    UploadHeld,
    UploadOutcomeUnknown,
)
from flows.parameters import BatchId
from tasks.batches.endings import dissolve_batch, fail_batch, lose_batch, return_unpaid, split_batch, withdraw_batch
from tasks.batches.load import load
from tasks.batches.ownership import owned_batch
from tasks.batches.poll import poll
from tasks.batches.realtime import verify_now
from tasks.batches.slots import batch_slot, give_back_stale_lease
from tasks.batches.upload import upload
from tasks.queue.dispatch import keep_going
from tasks.running.stopping import graceful_run
from tasks.upkeep.deletion import delete_at_bouncer

__all__ = ["verify_as_subflow", "verify_batch"]


def _run_name() -> str:
    # Ingest names the runs that it starts, "batch 12: 10,000 contacts of request 3"; one started by hand has no name.
    given = str(flow_run.get_name())
    return given if given.startswith("batch ") else f"batch {flow_run.get_parameters()['batch_id']}"


@flow(name="verify-batch", flow_run_name=_run_name, persist_result=False)
async def verify_batch(batch_id: BatchId) -> State[None]:
    """Uploads a batch, polls it until Bouncer has verified it, and loads its verdicts.

    Goes on from the step that the batch has reached, so it can be rerun at any time. Needs the blocks
    bouncer-account and contacts-database.

    Args:
        batch_id: The number of the batch: its row in Bouncer_Batches, and what its run is named for.
    """
    with graceful_run():
        return await _verify_owned(batch_id)


async def _verify_owned(batch_id: int) -> State[None]:
    async with owned_batch(batch_id) as (access, batch):
        if batch is None:
            return Completed(message="Nothing to do: another run works on this batch, or there is no such batch")
        try:
            outcome = await _settle(access, batch)
        except (OwnershipLost, Paused, Stopped) as error:
            get_run_logger().warning("%s", error)
            return Completed(name="LeftAsItIs", message=str(error))
        await keep_going(access, batch)
        return outcome


async def verify_as_subflow(batch: BatchTitle) -> State[None]:
    """Runs the flow for a batch within another flow, under the batch's name."""
    named = verify_batch.with_options(flow_run_name=str(batch))
    with marked(f"request:{batch.request_id}"):
        return cast("State[None]", await named(batch.id, return_state=True))


async def _settle(access: Access, batch: BatchWork) -> State[None]:  # noqa: PLR0911  # one return an outcome
    try:
        return await _verify(access, batch)
    except UploadHeld as error:
        return Failed(name="Held", message=str(error))
    except RequestCancelled as error:
        return await withdraw_batch(access, batch, error)
    except NothingToSend as error:
        return await dissolve_batch(access, batch, error)
    except OutOfCredits as error:
        return await return_unpaid(access, batch, error)
    except AddressesRefused as error:
        return await split_batch(access, batch, error)
    except UploadOutcomeUnknown as error:
        return await fail_batch(access, batch, error)
    except BatchLost as error:
        return await lose_batch(access, batch, error)


async def _verify(access: Access, batch: BatchWork) -> State[None]:
    if batch.realtime and batch.state not in SETTLED:
        settled = await verify_now(access, batch)
        return Completed(message=f"{settled:,} contacts settled in real time")
    bouncer_id = batch.bouncer_id
    await give_back_stale_lease(access, batch)
    if batch.state in BEFORE_VERDICTS:
        async with batch_slot(access, batch) as slot:
            if bouncer_id is None:
                bouncer_id = await upload(access, batch, slot)
            await poll(access, batch, bouncer_id)
    elif batch.state in SETTLED:
        return Completed(message="Nothing to do: this batch is settled")
    report = await load(access, batch, str(bouncer_id))
    await delete_at_bouncer(access, batch.id, str(bouncer_id))
    return Completed(message=f"{report.settled:,} contacts settled, {report.missing:,} requeued")
