"""Another project on the same Prefect server, whose things have the names that ours have."""

from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import flow, get_client
from prefect.artifacts import acreate_markdown_artifact
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, VariableCreate, WorkPoolCreate
from prefect.client.schemas.objects import Flow
from prefect.events.actions import DoNothing
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.states import Completed, Crashed, Failed, Running
from prefect.types.entrypoint import EntrypointType

from deployments.setup.automation_definitions import notification_names, silent_runs
from deployments.setup.deployments_from_yaml import written_deployments

__all__ = ["found_a_foreign_project", "snapshot"]


class Ledger(Block):
    """A block of the other project."""

    entries: int = 1


async def found_a_foreign_project(*, takes_unique_names: bool) -> None:
    """Makes the project.

    Args:
        takes_unique_names: Also limits, a pool and deployments of our names, which only one can have.
    """
    async with get_client() as client:
        for name in (silent_runs().name, *notification_names()):
            await client.create_automation(
                AutomationCore(
                    name=name,
                    trigger=EventTrigger(expect={"theirs"}, posture=Posture.Reactive, threshold=1, within=timedelta(0)),
                    actions=[DoNothing()],
                )
            )
        for variable in ("bouncer_uploads_theirs", "bouncer_uploads", "their_own"):
            await client.create_variable(VariableCreate(name=variable, value=7))
        await Ledger().asave("default", overwrite=True)
        for name in ("forecast", "ingest", "check-health", "housekeeping", "verify-batch"):
            await _make_runs(client, name)
        await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="bouncer-theirs", limit=3))
        await client.create_work_pool(WorkPoolCreate(name="theirs", type="process"))
        if takes_unique_names:
            await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="bouncer-api", limit=1))
            await client.create_work_pool(WorkPoolCreate(name="bouncer", type="docker", description="of theirs"))
            await client.create_work_queue(name="critical", work_pool_name="bouncer", priority=9)
            for written in written_deployments():
                theirs = flow(_theirs, name=str(written["entrypoint"]).rpartition(".")[2].replace("_", "-"))
                made = await theirs.ato_deployment(written["name"], entrypoint_type=EntrypointType.MODULE_PATH)
                await made.aapply()


def _theirs() -> None:
    """Does what the other project does."""


async def _make_runs(client: PrefectClient, name: str) -> None:
    theirs = flow(_theirs, name=name)
    long_ago = datetime.now(UTC) - timedelta(days=400)
    for state in (
        Completed(timestamp=long_ago),
        Failed(),
        Crashed(),
        Running(timestamp=long_ago),
        Completed(),
    ):
        run = await client.create_flow_run(theirs, tags=["bouncer-flows", "nightly"], state=state)
        await client.set_flow_run_state(run.id, state, force=True)
    for key in ("dashboard", "housekeeping", "costs", "forecast", "request-1"):
        await acreate_markdown_artifact("theirs", key=f"{key}")


async def snapshot(client: PrefectClient) -> dict[str, Any]:
    """Everything on the server by kind and id, less times, Prefect's own types, and runs that its scheduler adds."""
    flows: list[Flow] = await client.read_flows()
    return {
        "flows": {str(one.id): one.name for one in flows},
        "runs": {
            str(one.id): (one.name, one.state_type, one.tags, one.state and one.state.id)
            for one in await client.read_flow_runs(limit=200)
            if "auto-scheduled" not in one.tags
        },
        "deployments": {
            str(one.id): one.model_dump(mode="json", exclude={"updated", "status", "last_polled"})
            for one in await client.read_deployments()
        },
        "pools": {
            pool.name: (
                pool.model_dump(mode="json", exclude={"updated", "status"}),
                {
                    queue.name: (str(queue.id), queue.priority, queue.is_paused)
                    for queue in await client.read_work_queues(work_pool_name=pool.name)
                },
            )
            for pool in await client.read_work_pools()
        },
        "limits": {
            one.name: (str(one.id), one.limit, one.active, one.slot_decay_per_second)
            for one in await client.read_global_concurrency_limits(limit=200, offset=0)
        },
        "automations": {
            str(one.id): one.model_dump(mode="json", exclude={"updated"}) for one in await client.read_automations()
        },
        "blocks": {
            str(one.id): (one.block_type_name, one.name, str(one.data))
            for one in await client.read_block_documents(limit=200, include_secrets=True)
        },
        "variables": {one.name: (str(one.id), one.value, one.tags) for one in await client.read_variables(limit=200)},
        "artifacts": {str(one.id): (one.key, one.data) for one in await client.read_artifacts(limit=200)},
    }
