"""The names of upcoming runs: the Prefect server gives those on a schedule random ones (prefect#9706)."""

import re

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType

from bouncer.installation import here

__all__ = ["name_upcoming_runs"]

_BY_SCHEDULE = "auto-scheduled"
_NAMED = re.compile(r", \d\d \w+ \d\d:\d\d UTC$")


async def name_upcoming_runs(client: PrefectClient) -> int:
    """Names this installation's upcoming runs after their deployment and the time, and returns how many.

    A run that begins takes the name that its flow gives it. One call to the server, where all have their names.
    """
    upcoming = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[here().tag, _BY_SCHEDULE]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
    )
    unnamed = [run for run in await client.read_flow_runs(flow_run_filter=upcoming) if not _NAMED.search(run.name)]
    if not unnamed:
        return 0
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[here().tag]))
    names = {deployment.id: deployment.name for deployment in await client.read_deployments(deployment_filter=ours)}
    named = 0
    for run in unnamed:
        deployment, begins = run.deployment_id and names.get(run.deployment_id), run.expected_start_time
        if deployment and begins is not None:
            await client.update_flow_run(run.id, name=f"{deployment}, {begins:%d %b %H:%M} UTC")
            named += 1
    return named
