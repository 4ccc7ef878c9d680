"""Flow housekeeping: old runs go from the Prefect server, slots come back, and it tells what it did."""

import asyncio
from datetime import UTC, datetime

from prefect import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.sorting import ArtifactSort
from prefect.states import Running
from sqlalchemy import insert

from bouncer.storage.engine import write
from bouncer.storage.tables import Batch, HealthMetric
from bouncer.upkeep.retention import Retention
from flows.housekeeping import housekeeping
from flows.ingest import ingest
from tasks.upkeep.forget_runs import forget_runs
from tests.bouncer.contacts import set_back
from tests.bouncer.storage.existing_tables import on_sqlite, rows
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue
from tests.flows.runs import ingested, subflows_of, until_it_holds
from tests.prefect_server import send_what_waits

_DAY = 86_400


async def test_what_is_old_goes_and_crashes_leave_nothing(set_up_account: SetUpAccount) -> None:
    """Figures and results beyond their age go, slots of dead runs come back, and an artifact tells of it."""
    engine = await set_up_account(result_max_age_days=20)
    queue(engine, addresses(30))
    await ingested()
    write(engine, lambda c: c.execute(insert(HealthMetric).values(metric_name="m", metric_value=1)))
    set_back(engine, HealthMetric.recorded_ts, 40 * _DAY)
    set_back(engine, Batch.completed_ts, 30 * _DAY)
    async with get_client() as client:
        await client.update_global_concurrency_limit("bouncer-batches", GlobalConcurrencyLimitUpdate(active_slots=2))
        tidied = await housekeeping(Retention(result_days=10))
        assert (await client.read_global_concurrency_limit_by_name("bouncer-batches")).active_slots == 0
        key = ArtifactFilterKey(any_=["housekeeping"])
        (latest,) = await client.read_artifacts(
            artifact_filter=ArtifactFilter(key=key), sort=ArtifactSort.CREATED_DESC, limit=1
        )
    assert (tidied.slots, tidied.flow_runs, tidied.left_behind) == (2, 0, 0)
    assert (tidied.rows["Bouncer_Health_Metrics"], tidied.rows["Bouncer_Results"]) == (1, 30)
    assert "| rows of Bouncer_Results deleted | 30 |" in str(latest.data)
    assert {row["bouncer_status"] for row in rows(engine, "Contacts_Global")["Contacts_Global"]} != {None}


@on_sqlite
async def test_old_runs_go_with_their_logs_and_artifacts(set_up_account: SetUpAccount) -> None:
    """Of the project's runs those that ended before a moment go; later ones stay, and so do unfinished ones."""
    engine = await set_up_account()
    queue(engine, addresses(30))
    _, old = await ingested()
    batches = [run.id for run in await subflows_of(old)]
    assert batches
    async with get_client() as client:
        endless = await client.create_flow_run(ingest, state=Running())
        moment = datetime.now(UTC)
        _, young = await ingested()
        await asyncio.to_thread(send_what_waits)
        # The runs of earlier tests are as old.
        runs, artifacts = await forget_runs((datetime.now(UTC) - moment).total_seconds() / _DAY)
        left = {run.id for run in await client.read_flow_runs()}
        assert not {old, *batches} & left
        assert {young, endless.id} <= left
        assert runs >= 1 + len(batches)
        assert artifacts >= 1 + len(batches)
        of_old = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[old, *batches]))
        assert await client.read_artifacts(artifact_filter=of_old) == []

        @until_it_holds
        async def logs_are_gone() -> None:
            of_runs = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[old, *batches]))
            assert await client.read_logs(of_runs) == []

        await logs_are_gone()


@on_sqlite
async def test_results_stay_as_long_as_verdicts_are_used_again(set_up_account: SetUpAccount) -> None:
    """A shorter retention than RESULT_MAX_AGE_DAYS does not take the details of verdicts that are still given out."""
    engine = await set_up_account(result_max_age_days=90)
    contacts = queue(engine, addresses(20))
    await ingested()
    set_back(engine, Batch.completed_ts, 60 * _DAY)
    assert (await housekeeping(Retention(result_days=30))).rows["Bouncer_Results"] == 0
    assert len(rows(engine, "Bouncer_Results")["Bouncer_Results"]) == len(contacts)
    set_back(engine, Batch.completed_ts, 92 * _DAY)
    assert (await housekeeping()).rows["Bouncer_Results"] == 0
    assert (await housekeeping(Retention(result_days=30))).rows["Bouncer_Results"] == len(contacts)
