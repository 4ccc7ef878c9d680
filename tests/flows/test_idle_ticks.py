"""Ticks that found nothing: the list of runs shows those that did something."""

import asyncio
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import State

from blocks.run_tags import marked
from flows.check_health import check_health
from flows.dispatch import dispatch
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue
from tests.flows.runs import ingested, tasks_of, until_it_holds
from tests.prefect_server import send_what_waits, served_deployments

pytestmark = pytest.mark.timeout(600)


async def _idle() -> int:
    async with get_client() as client:
        return await client.count_flow_runs(flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=["idle"])))


@on_sqlite
@pytest.mark.parametrize("tag", ["by hand", "tick"])
async def test_runs_that_did_something_stay(set_up_account: SetUpAccount, tag: str) -> None:
    """A run by hand is looked at by whoever started it, and one that verified something is no idle one."""
    engine = await set_up_account()
    before = await _idle()
    if tag == "tick":
        queue(engine, addresses(5))
    (batches,) = [served for served in await served_deployments(15) if served.name == "verify-batch"]
    deployment = await batches.aapply()
    with marked(tag):
        await dispatch()
    async with get_client() as client:
        await client.delete_deployment(deployment)
    assert await _idle() == before


@on_sqlite
async def test_an_idle_tick_is_a_run_and_no_task_runs(set_up_account: SetUpAccount) -> None:
    """Each task run is three events, 20 kB of the server's database, and there are 192 such ticks a day."""
    engine = await set_up_account()
    with marked("tick"):
        states: list[State[Any]] = [await check_health(return_state=True), await dispatch(return_state=True)]
    queue(engine, addresses(5))
    _, verified = await ingested()
    await asyncio.to_thread(send_what_waits)

    @until_it_holds
    async def recorded() -> None:
        # The server records them in the order in which they were.
        assert await tasks_of(verified)

    await recorded()
    assert (
        await tasks_of(*[state.state_details.flow_run_id for state in states if state.state_details.flow_run_id]) == []
    )
