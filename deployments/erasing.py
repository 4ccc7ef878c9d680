"""Erasure beyond the contacts database: at Bouncer, and in the runs that the Prefect server keeps."""

import json
from collections.abc import Callable, Sequence
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort

from blocks.access import account_names, open_accounts
from bouncer.erasure.addresses import Wanted
from bouncer.installation import here
from tasks.batches.ownership import new_owner
from tasks.running.run_names import list_run_name
from tasks.upkeep.deletion import delete_erased
from tasks.upkeep.forget_runs import delete_runs

__all__ = ["delete_batches_at_bouncer", "forget_runs_of_person", "forget_runs_of_request", "left_at_prefect"]

_PAGE = 200
_AT_ONCE = 50


async def delete_batches_at_bouncer() -> int:
    """Asks Bouncer to delete the batches at their end with an erased address; housekeeping asks again for the rest.

    Returns:
        Batches that are deleted.
    """
    names = await account_names()
    if not names:
        return 0
    async with open_accounts(names, new_owner()) as opened:
        return sum([await delete_erased(access) for access in opened])


async def forget_runs_of_person(wanted: Wanted) -> int:
    """Deletes the runs of this installation that were started with an address, such as one in the name of a list.

    Returns:
        Runs that are deleted; those that have not ended stay.
    """
    return await _forget(lambda run: _names(run, wanted))


async def forget_runs_of_request(name: str | None, request_ids: Sequence[int]) -> int:
    """Deletes the runs of this installation that worked on a request, with their logs and artifacts.

    Args:
        name: Its name, by which the run of a list is called.
        request_ids: Its number, and those of its deep passes.

    Returns:
        Runs that are deleted; those that have not ended stay.
    """
    tags = {f"request:{request}" for request in request_ids}
    run_name = None if name is None else list_run_name(name)
    return await _forget(lambda run: bool(tags & set(run.tags)) or run.name == run_name)


async def left_at_prefect(wanted: Wanted) -> list[str]:
    """Finds where an address still is at the Prefect server, in what people start and have written there.

    Returns:
        Runs of this installation that have not ended, and deployments with it in their parameters.
    """
    async with get_client() as client:
        runs = await _find(client, lambda run: _names(run, wanted), ended=False)
        left = [f"a run that has not ended: {run}" for run in runs]
        ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[here().tag]))
        offset = 0
        while page := await client.read_deployments(deployment_filter=ours, limit=_PAGE, offset=offset):
            for deployment in page:
                told = [deployment.parameters, *(schedule.parameters for schedule in deployment.schedules)]
                if wanted.is_in(json.dumps(told, ensure_ascii=False, default=str)):
                    left.append(f"the parameters of deployment {deployment.name}, which a person has set")
            offset += len(page)
    return left


def _names(run: FlowRun, wanted: Wanted) -> bool:
    return wanted.is_in(f"{run.name} {json.dumps(run.parameters, ensure_ascii=False)}")


async def _forget(is_of_them: Callable[[FlowRun], bool]) -> int:
    async with get_client() as client:
        found = await _find(client, is_of_them)
        deleted = 0
        for first in range(0, len(found), _AT_ONCE):
            these = FlowRunFilter(id=FlowRunFilterId(any_=found[first : first + _AT_ONCE]))
            runs, _ = await delete_runs(client, these)
            deleted += runs
        return deleted


async def _find(client: PrefectClient, is_of_them: Callable[[FlowRun], bool], *, ended: bool = True) -> list[UUID]:
    states = [state for state in StateType if (state in TERMINAL_STATES) is ended]
    ours = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[here().tag]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)),
    )
    found: list[UUID] = []
    offset = 0
    while page := await client.read_flow_runs(
        flow_run_filter=ours, sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=_PAGE, offset=offset
    ):
        found += [run.id for run in page if is_of_them(run)]
        offset += len(page)
    return found
