"""Uninstalling: everything of this installation goes off the Prefect server; its database stays as it is."""

from contextlib import suppress
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowFilter,
    FlowFilterId,
    FlowRunFilter,
    FlowRunFilterTags,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from blocks.access import account_names
from blocks.last_database import variable_name
from blocks.upload_counts import forget_marks
from bouncer.installation import here
from bouncer.plurals import counted
from deployments.setup.automation_definitions import own_automations
from deployments.setup.deployments_from_yaml import deployment_names, is_ours
from deployments.setup.work_pool import busy_workers, forget_work_pool
from tasks.upkeep.forget_runs import delete_runs

__all__ = ["uninstall", "what_uninstall_deletes"]


async def what_uninstall_deletes() -> str:
    """Counts what of this installation is on the Prefect server, in words; nothing is changed."""
    async with get_client() as client:
        found = {
            "automation": len(await own_automations(client)),
            "deployment": len(await _own_deployments(client)),
            "flow run": await client.count_flow_runs(flow_run_filter=_own_runs()),
            "account block": len(await account_names()),
        }
    return ", ".join(counted(number, thing) for thing, number in found.items())


async def uninstall(pool: str) -> list[str]:
    """Takes everything of this installation off the Prefect server. Safe to run again.

    Flows stay where others have runs or deployments of the same name. Events cannot be deleted.

    Args:
        pool: The work pool that it uses; another one than its own only loses its queues.

    Returns:
        A line for each thing that was taken away.
    """
    installation = here()
    accounts = await account_names()
    async with get_client() as client:
        # First what starts runs, then the runs, then what they need.
        changes = await _delete_automations(client)
        of_ours, of_runs = await _delete_deployments(client)
        changes += of_ours
        flows = set(of_runs)
        ours = _own_runs()
        flows |= {run.flow_id for run in await client.read_flow_runs(flow_run_filter=ours)}
        runs, artifacts = await delete_runs(client, ours)
        changes += [f"{counted(runs, 'flow run')} deleted, and {counted(artifacts, 'artifact')}"] if runs else []
        if workers := await busy_workers(client, pool):
            changes.append(
                f"warning: {counted(workers, 'worker')} of work pool {pool} {'runs' if workers == 1 else 'run'}, and "
                f"each makes the pool anew; stop them, then: prefect work-pool delete {pool}"
            )
        changes += await forget_work_pool(client, pool)
        for account in dict.fromkeys(["default", *accounts]):
            changes += await _delete_limits(client, account)
        changes += [f"variable {name} deleted" for name in await forget_marks(client)]
        with suppress(ObjectNotFound):
            await client.delete_variable_by_name(variable_name())
        documents = {
            "bouncer-account": [installation.account_block(account) for account in accounts],
            "contacts-database": [installation.block],
            "bouncer-prices": [installation.block],
        }
        for block_type, names in documents.items():
            changes += await _delete_blocks(client, block_type, names)
        for flow in flows:
            await _delete_unused_flow(client, flow)
    return changes


async def _delete_automations(client: PrefectClient) -> list[str]:
    found = await own_automations(client)
    for automation in found:
        await client.delete_automation(automation.id)
    return [f"automation {automation.name!r} deleted" for automation in found]


async def _delete_deployments(client: PrefectClient) -> tuple[list[str], list[UUID]]:
    changes, flows = [], []
    for name, deployment in (await _own_deployments(client)).items():
        # Its runs go first: those that are older than the tag are nobody's without it.
        of_it = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
        runs, _ = await delete_runs(client, FlowRunFilter(), of_it)
        await client.delete_deployment(deployment.id)
        changes.append(f"deployment {name} deleted, and {counted(runs, 'flow run')} of it")
        flows.append(deployment.flow_id)
    return changes, flows


async def _own_deployments(client: PrefectClient) -> dict[str, DeploymentResponse]:
    own = {}
    for name in deployment_names():
        with suppress(ObjectNotFound):
            deployment = await client.read_deployment_by_name(name)
            if is_ours(deployment):
                own[name] = deployment
    return own


def _own_runs() -> FlowRunFilter:
    return FlowRunFilter(tags=FlowRunFilterTags(all_=[here().tag]))


async def _delete_limits(client: PrefectClient, account: str) -> list[str]:
    changes = []
    for name in here().limits(account):
        with suppress(ObjectNotFound):
            await client.delete_global_concurrency_limit_by_name(name)
            changes.append(f"limit {name} deleted")
    return changes


async def _delete_blocks(client: PrefectClient, block_type: str, names: list[str]) -> list[str]:
    changes = []
    for name in names:
        with suppress(ObjectNotFound):
            document = await client.read_block_document_by_name(name, block_type, include_secrets=False)
            await client.delete_block_document(document.id)
            changes.append(f"block {block_type}/{name} deleted")
    with suppress(ObjectNotFound):
        its_type = await client.read_block_type_by_slug(block_type)
        if not await client.read_block_documents_by_type(block_type, include_secrets=False):
            await client.delete_block_type(its_type.id)
    return changes


async def _delete_unused_flow(client: PrefectClient, flow: UUID) -> None:
    this = FlowFilter(id=FlowFilterId(any_=[flow]))
    if await client.read_flow_runs(flow_filter=this, limit=1) or await client.read_deployments(flow_filter=this):
        return
    with suppress(ObjectNotFound):
        await client.delete_flow(flow)
