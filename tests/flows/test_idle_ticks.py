"""Ticks that found nothing: the list of runs shows those that did something."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import State
from sqlalchemy import insert

from blocks.run_tags import marked
from bouncer.storage.engine import write
from bouncer.storage.tables import Batch, HealthMetric
from flows.check_health import check_health
from flows.dispatch import dispatch
from flows.housekeeping import housekeeping
from tasks.monitoring import dashboard
from tests.bouncer.contacts import set_back
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue
from tests.flows.runs import ingested, tasks_of, until_it_holds
from tests.prefect_server import send_what_waits, served_deployments

pytestmark = pytest.mark.timeout(600)

_DAY = 86_400


async def _with_tag(tag: str) -> int:
    async with get_client() as client:
        return await client.count_flow_runs(flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[tag])))


async def _idle() -> int:
    return await _with_tag("idle")


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
async def test_of_ticks_that_found_nothing_the_latest_stays(set_up_account: SetUpAccount) -> None:
    """Housekeeping that deletes figures past their age found nothing either; one that deletes results stays."""
    engine = await set_up_account(result_max_age_days=0)
    queue(engine, addresses(5))
    await ingested()
    with marked("tick"):
        await housekeeping()
        write(engine, lambda c: c.execute(insert(HealthMetric).values(metric_name="m", metric_value=1)))
        set_back(engine, HealthMetric.recorded_ts, 40 * _DAY)
        of_figures = await housekeeping()
        assert (of_figures.rows["Bouncer_Health_Metrics"], await _idle()) == (1, 1)
        set_back(engine, Batch.completed_ts, 400 * _DAY)
        of_results = await housekeeping()
        assert (of_results.rows["Bouncer_Results"], await _idle()) == (5, 1)


@on_sqlite
async def test_a_dashboard_that_is_written_again_leaves_one_run(
    set_up_account: SetUpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written at least once an hour, and lived on with its run: 24 of them a day in the list."""
    await set_up_account()
    with marked("tick"):
        # In three, since the first has the answer's time in no figure, and the second has.
        for _ in range(3):
            await check_health()
        monkeypatch.setattr(dashboard, "_OLDEST", timedelta(0))
        for _ in range(2):
            await check_health()
        assert await _with_tag("renewed") == 1
        monkeypatch.undo()
        await check_health()
        assert (await _with_tag("renewed"), await _idle()) == (1, 1)


@on_sqlite
async def test_an_idle_tick_is_a_run_and_no_task_runs(set_up_account: SetUpAccount) -> None:
    """Each task run is three events, 20 kB of the server's database, and there are 216 such ticks a day."""
    engine = await set_up_account()
    with marked("tick"):
        states: list[State[Any]] = [
            await check_health(return_state=True),
            await dispatch(return_state=True),
            await housekeeping(return_state=True),
        ]
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
