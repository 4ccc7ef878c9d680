"""Old flow runs of this installation go from the Prefect server, with their logs and artifacts."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    DeploymentFilter,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.exceptions import ObjectNotFound

from bouncer.installation import here

__all__ = ["delete_runs", "forget_runs"]

_RUNS_AT_ONCE = 50


async def forget_runs(days: float) -> tuple[int, int]:
    """Deletes the installation's flow runs that ended more than so many days ago, with their logs and artifacts.

    They have its tag; runs that are older than the tag are found by its deployments. Asks the server for a few at a
    time, so that it goes on serving others. Safe to run twice.

    Args:
        days: Their age, by this machine's clock.

    Returns:
        Flow runs and artifacts deleted.
    """
    end_time = FlowRunFilterEndTime(before_=datetime.now(UTC) - timedelta(days=days))
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES)))
    mark = [here().tag]
    old = FlowRunFilter(end_time=end_time, state=state)
    old_and_ours = FlowRunFilter(end_time=end_time, state=state, tags=FlowRunFilterTags(all_=mark))
    of_ours = DeploymentFilter(tags=DeploymentFilterTags(all_=mark))
    async with get_client() as client:
        runs, artifacts = await delete_runs(client, old_and_ours)
        runs_before, artifacts_before = await delete_runs(client, old, of_ours)
    return runs + runs_before, artifacts + artifacts_before


async def delete_runs(
    client: PrefectClient, which: FlowRunFilter, of: DeploymentFilter | None = None
) -> tuple[int, int]:
    """Deletes flow runs with their logs and artifacts, a few at a time.

    Args:
        client: Of the Prefect server.
        which: The runs.
        of: Only runs of these deployments.

    Returns:
        Flow runs and artifacts deleted.
    """
    runs = artifacts = 0
    while True:
        found = await client.read_flow_runs(flow_run_filter=which, deployment_filter=of, limit=_RUNS_AT_ONCE)
        if not found:
            return runs, artifacts
        # Prefect deletes the logs of a run with it, but not its artifacts; so these go first.
        artifacts += await _delete_artifacts(client, [run.id for run in found])
        for run in found:
            runs += await _delete_run(client, run.id)
        if len(found) < _RUNS_AT_ONCE:
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
