"""Forecasting what the waiting contacts would cost, and showing it."""

import asyncio
from collections.abc import Sequence

from prefect import get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from blocks.access import Access
from blocks.bouncer_prices import load_prices
from bouncer.costs.forecast import Forecast, Terms, forecast_queue
from bouncer.costs.forecast_text import headline, markdown
from bouncer.installation import here
from bouncer.storage.tables import Layer
from tasks.costs.budget import Budget

__all__ = ["forecast_waiting", "publish_forecast", "terms_of"]


async def terms_of(access: Access) -> Terms:
    """The terms under which the account's addresses are verified."""
    return Terms(
        account=access.name,
        batch_size=access.account.batch_size,
        slots=access.account.max_concurrent_batches,
        fresh_for=access.account.fresh_for,
        prices=await load_prices(),
        layer=access.layer,
    )


@task(name="forecast", task_run_name="forecast", cache_policy=NO_CACHE, persist_result=False)
async def forecast_waiting(accounts: Sequence[Access], request_id: int | None, budget: Budget) -> Forecast:
    """Counts what verifying the waiting contacts would cost. Safe to run twice: it only reads.

    Args:
        accounts: The accounts, over one database; the first of each pass tells what there is to say of it.
        request_id: Only this request, or None for all.
        budget: What a run may commit.

    Returns:
        Contacts by what they cost, credits, price, time and domains.
    """
    of_layers = {access.layer: access for access in reversed(accounts)}
    terms = [await terms_of(of_layers[layer]) for layer in Layer if layer in of_layers]
    return await asyncio.to_thread(
        forecast_queue, accounts[0].engine, *terms, request_id=request_id, max_credits=budget.spending.most
    )


async def publish_forecast(forecast: Forecast) -> Forecast:
    """Logs a forecast, publishes it as an artifact of the run, and returns it."""
    get_run_logger().info("%s", headline(forecast))
    await acreate_markdown_artifact(markdown(forecast), key=here().artifact("forecast"), description=headline(forecast))
    return forecast
