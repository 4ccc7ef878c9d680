"""Old flow runs of this project go from the Prefect server, with their logs and artifacts."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.exceptions import ObjectNotFound

__all__ = ["FLOWS", "forget_runs"]

FLOWS = (
    "cancel",
    "check-health",
    "export-request",
    "forecast",
    "housekeeping",
    "ingest",
    "report-costs",
    "requeue",
    "reverify",
    "steer",
    "verify-batch",
    "verify-risky",
)
"""The names of this project's flows; runs of other projects on the same server are none of its business."""

_RUNS_AT_ONCE = 50


@task(name="forget-runs", task_run_name="forget old runs", cache_policy=NO_CACHE, persist_result=False)
async def forget_runs(days: float) -> tuple[int, int]:
    """Deletes the flow runs that ended more than so many days ago, with their logs and artifacts.

    Asks the server for a few at a time, so that it goes on serving others. Safe to run twice.

    Args:
        days: Their age, by this machine's clock.

    Returns:
        Flow runs and artifacts deleted.
    """
    old = FlowRunFilter(
        end_time=FlowRunFilterEndTime(before_=datetime.now(UTC) - timedelta(days=days)),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES))),
    )
    ours = FlowFilter(name=FlowFilterName(any_=list(FLOWS)))
    runs = artifacts = 0
    async with get_client() as client:
        while found := await client.read_flow_runs(flow_filter=ours, flow_run_filter=old, limit=_RUNS_AT_ONCE):
            # Prefect deletes the logs of a run with it, but not its artifacts; so these go first.
            artifacts += await _delete_artifacts(client, [run.id for run in found])
            for run in found:
                runs += await _delete_run(client, run.id)
    return runs, artifacts


async def _delete_artifacts(client: PrefectClient, runs: list[UUID]) -> int:
    deleted = 0
    of_runs = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=list(runs)))
    while found := await client.read_artifacts(artifact_filter=of_runs):
        for artifact in found:
            try:
                await client.delete_artifact(artifact.id)
            except ObjectNotFound:
                continue
            deleted += 1
    return deleted


async def _delete_run(client: PrefectClient, run: UUID) -> int:
    try:
        await client.delete_flow_run(run)
    except ObjectNotFound:
        # Somebody else was quicker.
        return 0
    return 1
