"""The deployments of ``bouncer-flows serve``: those of prefect.yaml, on one machine and without a work pool."""

from pathlib import Path
from typing import Any, cast

import yaml  # type: ignore[import-untyped]  # it comes with Prefect, whose own format this is, and brings no types
from prefect import Flow, get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType
from prefect.utilities.importtools import import_object

from bouncer.errors import SettingRefused

__all__ = ["served_deployments", "written_deployments"]

_FILE = Path(__file__).resolve().parents[2] / "prefect.yaml"


def written_deployments() -> list[dict[str, Any]]:
    """The deployments as prefect.yaml has them.

    Raises:
        SettingRefused: The file is not where it should be.
    """
    try:
        content = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    except OSError:
        raise SettingRefused(f"{_FILE} cannot be read; run bouncer-flows from a checkout of the project") from None
    return cast("list[dict[str, Any]]", content["deployments"])


async def served_deployments(slots: int) -> list[RunnerDeployment]:
    """Makes the deployments of prefect.yaml for one machine.

    Parameters that prefect.yaml does not name stay as somebody has set them in the UI.

    Args:
        slots: The most batches in flight, which is how many runs of verify-batch there are at once.
    """
    async with get_client() as client:
        return [await _served(client, written, slots) for written in written_deployments()]


async def _served(client: PrefectClient, written: dict[str, Any], slots: int) -> RunnerDeployment:
    flow = cast("Flow[..., Any]", import_object(written["entrypoint"]))
    found = await _found_parameters(client, f"{flow.name}/{written['name']}")
    # Only those that the flow has: of an older version there may be others, with which no run would start.
    kept = {name: value for name, value in found.items() if name in flow.parameters.properties}
    limit = written.get("concurrency_limit")
    return await flow.ato_deployment(
        written["name"],
        description=written["description"],
        tags=written["tags"],
        parameters={**kept, **written.get("parameters", {})},
        schedules=[
            Cron(schedule["cron"], timezone=schedule["timezone"], active=schedule.get("active", True))
            for schedule in written.get("schedules", [])
        ],
        concurrency_limit=limit
        and ConcurrencyLimitConfig(
            limit=slots if written["name"] == "verify-batch" else limit["limit"],
            collision_strategy=ConcurrencyLimitStrategy(limit["collision_strategy"]),
        ),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


async def _found_parameters(client: PrefectClient, name: str) -> dict[str, Any]:
    try:
        return (await client.read_deployment_by_name(name)).parameters
    except ObjectNotFound:
        return {}
