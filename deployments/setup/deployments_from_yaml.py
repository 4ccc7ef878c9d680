"""The deployments of prefect.yaml, as ``bouncer-flows serve`` and ``bouncer-flows deploy`` make them."""

from importlib import import_module
from pathlib import Path
from typing import Any, cast, get_args

import yaml  # type: ignore[import-untyped]  # it comes with Prefect, whose own format this is, and brings no types
from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.types.entrypoint import EntrypointType

from bouncer.errors import SettingRefused
from bouncer.installation import NAME_VARIABLE, FlowName, here

__all__ = [
    "deployment_names",
    "is_ours",
    "own_deployments",
    "pause_until_served",
    "refuse_another_name",
    "retire_former_deployments",
    "written_deployments",
]

SERVE_ENDED = "serve-ended"
"""The tag of a deployment that is paused because nobody serves it."""

_BEFORE_THE_WATCH = "* * * * *"
_FILE = Path(__file__).resolve().parents[1] / "prefect.yaml"


def written_deployments() -> list[dict[str, Any]]:
    """The deployments as prefect.yaml has them, which is installed with the project."""
    content = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return cast("list[dict[str, Any]]", content["deployments"])


def deployment_names() -> list[str]:
    """The names of this installation's deployments, each with its flow's."""
    return [here().deployment_of(flow) for flow in get_args(FlowName)]


def is_ours(deployment: DeploymentResponse) -> bool:
    """Tells whether a deployment is of this installation; older ones have the project's tag alone."""
    tags = set(deployment.tags)
    is_older = not any(tag.startswith("installation:") for tag in tags) and here().is_default
    return here().tag in tags or (is_older and here().tags[0] in tags)


def refuse_another_name() -> dict[str, str]:
    """A step of ``prefect deploy``: what it deploys has the names of the default installation.

    Raises:
        SettingRefused: The environment names another.
    """
    if not here().is_default:
        raise SettingRefused(
            f"prefect.yaml deploys the installation bouncer, and {NAME_VARIABLE} names {here().name}; "
            "run bouncer-flows deploy"
        )
    return {}


async def own_deployments(client: PrefectClient, slots: int, pool: str | None = None) -> list[RunnerDeployment]:
    """Makes the deployments of prefect.yaml for this installation.

    What somebody has set in the UI stays: parameters that prefect.yaml does not name, schedules, pauses, tags and job
    variables.

    Args:
        client: Of the Prefect server.
        slots: The most batches in flight, which is how many runs of verify-batch there are at once.
        pool: The work pool whose workers run them; None where this process does.

    Raises:
        SettingRefused: A deployment of one of these names is another project's.
    """
    former = await _former_dispatch(client)
    return [await _own(client, written, slots, pool, former) for written in written_deployments()]


async def retire_former_deployments(client: PrefectClient) -> None:
    """Deletes what this installation had in an earlier version; ``own_deployments`` has taken over what people set."""
    former = await _found(client, f"ingest/{here().deployment('ingest-request')}")
    if former is not None:
        await client.delete_deployment(former.id)


async def _former_dispatch(client: PrefectClient) -> DeploymentResponse | None:
    # It was deployment ingest, told by a parameter to start batches on workers and end.
    found = await _found(client, here().deployment_of("ingest"))
    return found if found is not None and "on_workers" in found.parameters else None


async def pause_until_served(client: PrefectClient) -> None:
    """Pauses the deployments when ``serve`` ends, or their runs pile up; what somebody has paused stays so."""
    for name in deployment_names():
        found = await _found(client, name)
        if found is not None and not found.paused:
            await client.update_deployment(found.id, DeploymentUpdate(paused=True, tags=[*found.tags, SERVE_ENDED]))


async def _own(
    client: PrefectClient, written: dict[str, Any], slots: int, pool: str | None, former: DeploymentResponse | None
) -> RunnerDeployment:
    flow, installation = _flow_of(written), here()
    name = installation.deployment(written["name"])
    found = await _found(client, f"{flow.name}/{name}")
    if former is not None and written["name"] == "dispatch":
        found = found or former
    if former is not None and written["name"] == "ingest":
        await _end_ticking(client, former)
        found = None
    # Only those that the flow has: of an older version there may be others, with which no run would start.
    kept = {} if found is None else found.parameters
    kept = {name: value for name, value in kept.items() if name in flow.parameters.properties}
    limit = written.get("concurrency_limit")
    own = [installation.tag if tag.startswith("installation:") else tag for tag in written["tags"]]
    return await flow.ato_deployment(
        name,
        description=written["description"],
        tags=list(dict.fromkeys([*own, *_further_tags(found.tags if found else [])])),
        parameters={**kept, **written.get("parameters", {})},
        schedules=_schedules(written, found),
        paused=found is not None and found.paused and SERVE_ENDED not in found.tags,
        concurrency_limit=limit
        and ConcurrencyLimitConfig(
            limit=slots if written["name"] == "verify-batch" else limit["limit"],
            collision_strategy=ConcurrencyLimitStrategy(limit["collision_strategy"]),
        ),
        entrypoint_type=EntrypointType.MODULE_PATH,
        **_where(written, found, pool),
    )


async def _end_ticking(client: PrefectClient, former: DeploymentResponse) -> None:
    for schedule in former.schedules:
        await client.delete_deployment_schedule(former.id, schedule.id)
    await client.update_deployment(former.id, DeploymentUpdate(parameters={}, concurrency_limit=None, paused=False))


def _further_tags(tags: list[str]) -> list[str]:
    own = {here().tags[0], SERVE_ENDED}
    return [tag for tag in tags if not tag.startswith("installation:") and tag not in own]


def _flow_of(written: dict[str, Any]) -> Flow[..., Any]:
    # Prefect's own import looks into the current folder first, where somebody else's flows may be.
    module, _, name = str(written["entrypoint"]).rpartition(".")
    return cast("Flow[..., Any]", getattr(import_module(module), name))


def _where(written: dict[str, Any], found: DeploymentResponse | None, pool: str | None) -> dict[str, Any]:
    if pool is None:
        return {}
    variables = found.job_variables if found is not None and found.job_variables else {}
    environment = {**written["work_pool"]["job_variables"]["env"], NAME_VARIABLE: here().name}
    return {
        "work_pool_name": pool,
        "work_queue_name": here().queue(pool, written["work_pool"]["work_queue_name"]),
        "job_variables": {**variables, "env": {**variables.get("env", {}), **environment}},
    }


def _schedules(written: dict[str, Any], found: DeploymentResponse | None) -> list[DeploymentScheduleCreate]:
    if found is not None:
        # Saving a deployment replaces its schedules: whoever has changed or stopped one would find it as before.
        return [
            DeploymentScheduleCreate.model_validate(
                {
                    **schedule.model_dump(include=set(DeploymentScheduleCreate.model_fields), exclude_none=True),
                    "schedule": _renewed(schedule.schedule, written),
                }
            )
            for schedule in found.schedules
        ]
    return [
        DeploymentScheduleCreate(
            schedule=CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"]),
            active=schedule.get("active", True),
        )
        for schedule in written.get("schedules", [])
    ]


def _renewed(schedule: Any, written: dict[str, Any]) -> Any:
    # Once every minute was what ticks had before there was a watch; whoever had set it so has it anew.
    if isinstance(schedule, CronSchedule) and schedule.cron == _BEFORE_THE_WATCH and written.get("schedules"):
        return CronSchedule(cron=written["schedules"][0]["cron"], timezone=schedule.timezone)
    return schedule


async def _found(client: PrefectClient, name: str) -> DeploymentResponse | None:
    try:
        found = await client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None
    if not is_ours(found):
        raise SettingRefused(f"deployment {name} is another project's; set {NAME_VARIABLE} to a name of your own")
    return found
