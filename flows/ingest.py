"""Flow ``ingest``: contacts leave the queue in batches and come back with verdicts, until none waits."""

from typing import Annotated, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from pydantic import Field

from blocks.access import Access, open_access
from bouncer.batches import BatchTitle
from flows.verify_batch import verify_batch
from tasks.check import check_account, check_limits
from tasks.claim import claim
from tasks.crew import Crew
from tasks.dispatch import refill
from tasks.look import look
from tasks.ownership import new_owner
from tasks.recover import recover
from tasks.stopping import is_stopping
from tasks.summarise import IngestSummary, Tally, summarise

__all__ = ["ingest"]

LOOK_SECONDS = 5.0
"""How often ingest looks for batches that died elsewhere, and for contacts that were queued meanwhile."""


def _run_name() -> str:
    request = flow_run.get_parameters().get("request_id")
    return "all requests" if request is None else f"request {request}"


@flow(name="ingest", flow_run_name=_run_name, persist_result=False)
async def ingest(
    request_id: Annotated[int | None, Field(ge=1)] = None,
    account: Annotated[str, Field(min_length=1, pattern=r"^[a-z0-9][a-z0-9-]*$")] = "default",
    on_workers: bool = False,
) -> IngestSummary:
    """Verifies the contacts that wait in the queue.

    First takes up what earlier runs left behind. Needs the blocks bouncer-account and contacts-database, and the
    limits that bouncer-flows setup makes.

    Args:
        request_id: The number of one request, whose contacts alone are verified; all requests if left at None.
        account: The name of the Bouncer Account block that pays.
        on_workers: On: start the batches as runs of deployment verify-batch, and end. Off: verify them in this run,
            which ends when no contact waits any more.
    """
    async with open_access(account, new_owner()) as access:
        await check_limits(access)
        tally = await Tally.begin(access, request_id)
        if tally.before.open:
            await check_account(access)
            await recover(access)
            if on_workers:
                tally.dispatched(await refill(access, request_id))
            else:
                await _drain(access, request_id, tally)
        return await summarise(access, request_id, tally)


async def _drain(access: Access, request_id: int | None, tally: Tally) -> None:
    crew = Crew(_start, access.account.max_concurrent_batches)
    try:
        while not is_stopping() and crew.fatal is None:
            outlook = await look(access, request_id, crew=crew)
            crew.begin(outlook.left_behind)
            if outlook.may_claim:
                claimed = await claim(access, crew.room, request_id)
                crew.begin(claimed.batches)
                tally.note(claimed)
                if claimed.took_any:
                    continue
            if crew.is_idle and outlook.is_over:
                break
            await crew.next_ended(LOOK_SECONDS)
    finally:
        await crew.all_ended()
    tally.end(outlook, crew)


async def _start(batch: BatchTitle) -> State[None]:
    named = verify_batch.with_options(flow_run_name=str(batch))
    return cast("State[None]", await named(batch.id, return_state=True))
