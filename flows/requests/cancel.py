"""Flow ``cancel``: a request is not verified any further; what Bouncer has of it is finished and loaded."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from blocks.access import Access, open_accounts
from bouncer.requests import cancelling
from flows.parameters import OneRequest, Reason
from flows.verify_batch import verify_as_subflow
from tasks.batches.ownership import new_owner
from tasks.batches.subflows import Crews
from tasks.requests.cancel import finish_in_flight, left_behind, mark_cancelled, withdraw
from tasks.requests.cancellation_report import Cancelled, foretell, report_cancellation
from tasks.requests.completion import follow_requests
from tasks.requests.naming import number_of
from tasks.running.heartbeats import sends_heartbeats
from tasks.running.run_names import named_by_request
from tasks.running.stopping import is_stopping

__all__ = ["cancel"]

LOOK_SECONDS = 1.0
"""Seconds between looks for batches that other runs have loaded."""


@flow(name="cancel", flow_run_name=named_by_request("cancel request"), persist_result=False)
@sends_heartbeats
async def cancel(
    request_id: OneRequest,
    reason: Reason = "by hand",
    by: Annotated[str, Field(min_length=1, max_length=100)] = "the Prefect UI",
    dry_run: bool = False,
) -> Cancelled:
    """Cancels a request: nothing of it is sent any more, and its batches at Bouncer are finished early.

    What Bouncer has verified is loaded, and the credits of the rest come back. Contacts of other requests that share
    a batch with it are requeued where they got no verdict. Ends when nothing of the request is in flight; run
    again, it goes on. Needs the blocks bouncer-account and contacts-database.

    Args:
        request_id: The name or number of the request.
        reason: The reason, for others to read; each contact fails with it.
        by: Who wants it.
        dry_run: Only report what would change.
    """
    async with open_accounts(None, new_owner()) as opened:
        number = await number_of(opened[0], request_id)
        if dry_run:
            return await foretell(opened[0], number)
        await mark_cancelled(opened[0], number, by, reason)
        await _finish(opened, number)
        await follow_requests(opened[0])
        return await report_cancellation(opened[0], number)


async def _finish(accounts: list[Access], request_id: int) -> None:
    crews = Crews(verify_as_subflow, {access.name: access.account.max_concurrent_batches for access in accounts})
    try:
        while not is_stopping() and crews.fatal is None:
            await withdraw(accounts[0], request_id)
            await finish_in_flight(accounts, request_id)
            crews.begin(await left_behind(accounts, request_id))
            under_way = await cancelling.under_way(accounts[0], request_id)
            if crews.is_idle and (not under_way or crews.gave_up_on):
                break
            await crews.next_change(LOOK_SECONDS)
    finally:
        await crews.all_ended()
    # The last batches may have given contacts back.
    await withdraw(accounts[0], request_id)
    if crews.fatal is not None:
        raise crews.fatal
