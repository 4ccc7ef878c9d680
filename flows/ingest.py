"""Flow ``ingest``: contacts leave the queue in batches and come back with verdicts, until none waits."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from blocks.access import Access, open_accounts
from bouncer.concurrency import await_all
from bouncer.queue.ingest_summary import IngestSummary, nothing_to_do
from bouncer.storage.tables import Layer
from flows.parameters import AccountName, OneRequest
from flows.verify_batch import verify_as_subflow
from tasks.accounts.check import check_accounts, check_limits
from tasks.batches.ownership import new_owner
from tasks.batches.recovery import recover
from tasks.batches.slot_repair import SlotKeeper
from tasks.batches.subflows import Crews
from tasks.costs.budget import Budget
from tasks.queue.claim import claim, claim_small
from tasks.queue.requeue_unsent import requeue_unsent
from tasks.queue.second_chances import try_again
from tasks.queue.summary import Tally, summarise
from tasks.queue.work_left import find_work_left
from tasks.requests.completion import RequestFollower, follow_requests
from tasks.requests.naming import number_of
from tasks.running.heartbeats import sends_heartbeats
from tasks.running.run_names import named_by_request
from tasks.running.stopping import graceful_run, is_stopping

__all__ = ["ingest"]

LOOK_SECONDS = 5.0
"""Seconds between looks for batches that died elsewhere, and for contacts queued meanwhile."""

MOST_LOOKS_IN_VAIN = 3
"""After so many looks that found nothing but contacts which could not be claimed, as where an application holds their
rows, they are left for the next ingest."""


@flow(name="ingest", flow_run_name=named_by_request("request", "all requests"), persist_result=False)
@sends_heartbeats
async def ingest(
    request_id: OneRequest | None = None,
    accounts: list[AccountName] | None = None,
    layer: Layer | None = None,
    max_credits: Annotated[int | None, Field(ge=0)] = None,
) -> IngestSummary:
    """Verifies the contacts that wait in the queue, in this run, until none waits any more.

    Each batch is a subflow. First takes up what earlier runs left behind. Needs the blocks bouncer-account and
    contacts-database, and the limits that bouncer-flows setup makes.

    Args:
        request_id: The name or number of one request, whose contacts alone are verified; all requests if left at None.
        accounts: The names of the Bouncer Account blocks that pay; all saved ones if left at None. Those of one layer
            share the work; where one of them cannot go on, the others do.
        layer: Only what waits for this pass, basic or deep; both if left at None.
        max_credits: The most credits that this run may commit, over all accounts; 0 for any number. What the account
            blocks say if left at None. The other contacts stay in the queue.

    Returns:
        What was done.
    """
    with graceful_run():
        async with open_accounts(accounts, new_owner(), layer=layer) as opened:
            await check_limits(opened)
            await try_again(opened[0])
            number = await number_of(opened[0], request_id)
            tally = await Tally.begin(opened[0], number, layer)
            if tally is None:
                await follow_requests(opened[0])
                return nothing_to_do()
            working, tally.cannot_send = await check_accounts(opened, tally.open_layers)
            await await_all(*(recover(access) for access in working))
            budget = Budget.of(working, max_credits)
            await budget.take_back_unsent(working)
            await _drain(working, number, tally, budget)
            await follow_requests(opened[0])
            return await summarise(opened[0], number, tally)


async def _drain(accounts: list[Access], request_id: int | None, tally: Tally, budget: Budget) -> None:
    crews = Crews(verify_as_subflow, {access.name: access.account.max_concurrent_batches for access in accounts})
    requests = RequestFollower(accounts[0])
    slots = SlotKeeper(accounts)
    in_vain = 0
    try:
        while not is_stopping() and crews.fatal is None:
            left = await find_work_left(accounts, request_id, crews=crews, budget=budget)
            crews.begin(left.left_behind)
            await slots.mend()
            took_any, tally.capped = False, set()
            for access in accounts:
                if left.contacts_wait:
                    claimed = await claim_small(access, request_id, budget)
                    crews.begin(claimed.batches)
                    tally.note(claimed)
                    took_any = took_any or claimed.took_any
                if access.name in left.unsent:
                    await requeue_unsent(access)
                    took_any = True
                if access.name in left.turns:
                    # The very first batch is made alone: it is on its way while the others are still being made.
                    batches = left.turns[access.name] if crews.started else 1
                    claimed = await claim(access, batches, request_id, budget)
                    crews.begin(claimed.batches)
                    tally.note(claimed)
                    took_any = took_any or claimed.took_any
            # Nobody waits for it as for the first batch.
            await requests.follow()
            if took_any:
                in_vain = 0
                continue
            if crews.is_idle and left.is_over:
                break
            if crews.is_idle and left.only_contacts_wait:
                in_vain += 1
                tally.are_locked = in_vain >= MOST_LOOKS_IN_VAIN
                if tally.capped or tally.are_locked:
                    break
            await crews.next_change(LOOK_SECONDS, or_room=left.contacts_wait)
    finally:
        await crews.all_ended()
    tally.end(left, crews)
