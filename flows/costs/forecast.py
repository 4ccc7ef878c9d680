"""Flow ``forecast``: what verifying the waiting contacts would cost and how long it would take; nothing is changed."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from blocks.access import open_accounts
from bouncer.costs.forecast import Forecast
from flows.parameters import AccountName, OneRequest
from tasks.batches.ownership import new_owner
from tasks.costs.budget import Budget
from tasks.costs.forecast import forecast_waiting, publish_forecast
from tasks.requests.naming import number_of
from tasks.running.heartbeats import sends_heartbeats
from tasks.running.run_names import named_by_request

__all__ = ["forecast"]


@flow(name="forecast", flow_run_name=named_by_request("request", "all requests"), persist_result=False)
@sends_heartbeats
async def forecast(
    request_id: OneRequest | None = None,
    accounts: list[AccountName] | None = None,
    max_credits: Annotated[int | None, Field(ge=0)] = None,
) -> Forecast:
    """Tells what verifying the contacts that wait would cost, without sending or changing anything.

    Needs the blocks bouncer-account and contacts-database; prices are those of block bouncer-prices/default.

    Args:
        request_id: The name or number of one request, whose contacts alone are looked at; all requests if left at None.
        accounts: The names of the Bouncer Account blocks that would pay; all saved ones if left at None. What waits for
            the deep pass is counted where one of them serves it.
        max_credits: The most credits that a run may commit; 0 for any number. What the account blocks say if left at
            None.
    """
    async with open_accounts(accounts, new_owner()) as opened:
        budget = Budget.of(opened, max_credits)
        return await publish_forecast(await forecast_waiting(opened, await number_of(opened[0], request_id), budget))
