"""Flow ``dispatch``: starts batches on workers for the free slots, and ends; it is run as long as contacts wait."""

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated

from prefect import flow
from pydantic import Field

from blocks.access import Access, open_accounts
from bouncer.concurrency import await_all
from bouncer.queue.claiming import Claimed
from bouncer.requests.counting import open_layers
from bouncer.storage.tables import Layer
from flows.parameters import AccountName, OneRequest
from flows.verify_batch import verify_as_subflow
from tasks.accounts.check import check_accounts, check_limits
from tasks.batches.ownership import new_owner
from tasks.batches.recovery import recover
from tasks.costs.budget import Budget
from tasks.queue.claim import claim_small
from tasks.queue.dispatch import make_places, refill, take_up
from tasks.queue.dispatch_summary import DispatchSummary, nothing_to_dispatch, summarise_dispatch
from tasks.queue.second_chances import try_again
from tasks.requests.completion import follow_requests
from tasks.requests.naming import number_of
from tasks.running.heartbeats import sends_heartbeats
from tasks.running.run_names import named_by_request
from tasks.running.stopping import graceful_run
from tasks.upkeep.idle_ticks import leave_no_trace

__all__ = ["dispatch"]

REALTIME_SECONDS = 20.0
"""For so long it begins with small requests in real time; what is left of them waits for the next run, or a batch."""


@flow(name="dispatch", flow_run_name=named_by_request("dispatch request", "dispatch"), persist_result=False)
@sends_heartbeats
async def dispatch(
    request_id: OneRequest | None = None,
    accounts: list[AccountName] | None = None,
    layer: Layer | None = None,
    max_credits: Annotated[int | None, Field(ge=0)] = None,
) -> DispatchSummary:
    """Starts the contacts that wait in the queue, as batches on workers.

    First takes up what earlier runs left behind. Ends once the slots are filled; the batches go on as runs of
    deployment verify-batch. Needs the blocks bouncer-account and contacts-database, and the limits that bouncer-flows
    setup makes.

    Args:
        request_id: The name or number of one request, whose contacts alone are verified; all requests if left at None.
        accounts: The names of the Bouncer Account blocks that pay; all saved ones if left at None. Those of one layer
            share the work; where one of them cannot go on, the others do.
        layer: Only what waits for this pass, basic or deep; both if left at None.
        max_credits: The most credits that this run may commit, over all accounts; 0 for any number. What the account
            blocks say if left at None. The other contacts stay in the queue.

    Returns:
        What was claimed and started.
    """
    with graceful_run():
        async with open_accounts(accounts, new_owner(), layer=layer) as opened:
            await try_again(opened[0])
            number = await number_of(opened[0], request_id)
            layers = await open_layers(opened[0], number, layer)
            if not layers:
                await follow_requests(opened[0])
                await leave_no_trace()
                return nothing_to_dispatch()
            # Not before: each task of an idle tick is three events on the server, 48 times a day.
            await check_limits(opened)
            working, cannot_send = await check_accounts(opened, layers, paused_will_do=True)
            await await_all(*(recover(access) for access in working))
            budget = Budget.of(working, max_credits)
            small = await _verify_small(working, number, budget)
            await make_places(working)
            await take_up(working, number)
            batches = await refill(working, number, budget)
            await follow_requests(opened[0])
            return await summarise_dispatch(opened[0], number, small, batches, cannot_send)


async def _verify_small(accounts: Sequence[Access], request_id: int | None, budget: Budget) -> Claimed:
    # In this run: a worker would be minutes in coming to them, behind all the batches. But not for as long as any come,
    # or no batch would be taken up or started meanwhile, and every other run be cancelled.
    end = time.monotonic() + REALTIME_SECONDS
    small = Claimed()
    for access in accounts:
        while time.monotonic() < end and (claimed := await claim_small(access, request_id, budget)).took_any:
            small += claimed
            await asyncio.gather(*(verify_as_subflow(batch) for batch in claimed.batches))
    return small
