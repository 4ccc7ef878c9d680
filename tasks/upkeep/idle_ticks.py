"""Ticks that found nothing to do: the next one takes their runs out of the list, which people read."""

import httpx
from prefect import get_client, get_run_logger
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run

from bouncer.installation import here
from tasks.upkeep.forget_runs import delete_runs

__all__ = ["leave_no_trace"]

_TICK, _IDLE = "tick", "idle"


async def leave_no_trace() -> None:
    """Marks this run as one that found nothing, if it is a tick, and deletes those that have ended so before.

    Safe to run twice.
    """
    tags = set(flow_run.tags)
    if _TICK not in tags or here().tag not in tags:
        return
    ended = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[here().tag, _TICK, _IDLE]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.COMPLETED])),
    )
    try:
        async with get_client() as client:
            await delete_runs(client, ended)
            await client.update_flow_run(flow_run.id, tags=[*tags, _IDLE])
    except (httpx.HTTPError, PrefectException) as error:
        # The next one makes up for it.
        get_run_logger().debug("an idle tick stays in the list: %s", type(error).__name__)
