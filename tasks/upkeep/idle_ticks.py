"""Ticks that found nothing to do: the deployment's next one takes their runs out of the list, which people read."""

import httpx
from prefect import get_client, get_run_logger
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run

from bouncer.installation import here
from tasks.running.this_run import own_deployment
from tasks.upkeep.forget_runs import delete_runs

__all__ = ["leave_no_trace"]

_TICK, _IDLE, _RENEWED = "tick", "idle", "renewed"


async def leave_no_trace(*, renewed: bool = False) -> None:
    """Marks this run as one that found nothing, if it is a tick, and deletes its deployment's earlier ones.

    Safe to run twice.

    Args:
        renewed: It has written a standing page again, which would go with the run; so it stays until the next renewal.
    """
    tags = set(flow_run.tags)
    if _TICK not in tags or here().tag not in tags:
        return
    deployment = own_deployment()
    mark = _RENEWED if renewed else _IDLE
    ended = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[here().tag, _TICK], any_=[_IDLE, mark]),
        deployment_id=FlowRunFilterDeploymentId(any_=None if deployment is None else [deployment]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.COMPLETED])),
    )
    try:
        async with get_client() as client:
            await delete_runs(client, ended)
            await client.update_flow_run(flow_run.id, tags=[*tags, mark])
    except (httpx.HTTPError, PrefectException) as error:
        # The next one makes up for it.
        get_run_logger().debug("an idle tick stays in the list: %s", type(error).__name__)
