"""Flow ``verify-batch``: one batch from its row to its verdicts, from whatever step it has reached."""

from functools import partial
from typing import cast

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from blocks.run_tags import marked
from bouncer.batches.state import BatchTitle
from bouncer.errors import OwnershipLost, Paused, Stopped
from bouncer.steps.batch_life import live
from flows.parameters import BatchId
from tasks.batches.ownership import owned_batch
from tasks.batches.run import PrefectRun
from tasks.batches.steps import BatchSteps
from tasks.queue.dispatch import keep_going
from tasks.running.heartbeats import sends_heartbeats
from tasks.running.stopping import graceful_run

__all__ = ["verify_as_subflow", "verify_batch"]


def _run_name() -> str:
    # Ingest names the runs that it starts, "batch 12: 10,000 contacts of request 3"; one started by hand has no name.
    given = str(flow_run.get_name())
    return given if given.startswith("batch ") else f"batch {flow_run.get_parameters()['batch_id']}"


@flow(name="verify-batch", flow_run_name=_run_name, persist_result=False)
@sends_heartbeats
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
            return Completed(
                name="NothingToDo",
                message="Nothing to do: another run works on this batch, or there is no such batch",
            )
        try:
            ending = await live(access, PrefectRun(), BatchSteps(access, partial(keep_going, access, batch)), batch)
        except (OwnershipLost, Paused, Stopped) as error:
            get_run_logger().warning("%s", error)
            return Completed(name="LeftAsItIs", message=str(error))
        await keep_going(access, batch)
        state = Failed if ending.is_failure else Completed
        return state(name=ending.name, message=ending.message)


async def verify_as_subflow(batch: BatchTitle) -> State[None]:
    """Runs the flow for a batch within another flow, under the batch's name."""
    named = verify_batch.with_options(flow_run_name=str(batch))
    with marked(f"request:{batch.request_id}"):
        return cast("State[None]", await named(batch.id, return_state=True))
