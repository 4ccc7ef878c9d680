"""Flow ``forecast``: what verifying the waiting contacts would cost and how long it would take; nothing is changed."""

from prefect import flow
from prefect.runtime import flow_run

from blocks.access import open_access
from bouncer.forecasting import Forecast
from flows.parameters import AccountName, RequestId
from tasks.forecast import forecast_waiting, publish_forecast
from tasks.ownership import new_owner

__all__ = ["forecast"]


def _run_name() -> str:
    request = flow_run.get_parameters().get("request_id")
    return "all requests" if request is None else f"request {request}"


@flow(name="forecast", flow_run_name=_run_name, persist_result=False)
async def forecast(
    request_id: RequestId | None = None,
    account: AccountName = "default",
) -> Forecast:
    """Tells what verifying the contacts that wait would cost, without sending or changing anything.

    Needs the blocks bouncer-account and contacts-database; prices are those of block bouncer-prices/default.

    Args:
        request_id: The number of one request, whose contacts alone are looked at; all requests if left at None.
        account: The name of the Bouncer Account block that would pay.
    """
    async with open_access(account, new_owner()) as access:
        return await publish_forecast(await forecast_waiting(access, request_id))
