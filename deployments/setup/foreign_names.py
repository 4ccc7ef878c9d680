"""Names that an installation would need and that others on the Prefect server have already."""

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName
from prefect.exceptions import ObjectNotFound

from bouncer.errors import SettingRefused
from bouncer.installation import NAME_VARIABLE, here
from deployments.setup.deployments_from_yaml import deployment_names, is_ours

__all__ = ["refuse_foreign_names"]


async def refuse_foreign_names(client: PrefectClient) -> None:
    """Refuses to begin where limits, a pool or deployments have this installation's names and are not its own.

    To be asked before the first setup alone: afterwards the names are taken, and nobody else can have them.

    Raises:
        SettingRefused: Something has such a name; the message says what.
    """
    taken = [
        *[f"limit {name}" for name in await _taken_limits(client)],
        *[f"work pool {name}" for name in await _taken_pools(client)],
        *[f"deployment {name}" for name in await _taken_deployments(client)],
    ]
    if taken:
        raise SettingRefused(
            f"{taken[0]} is on this Prefect server already, and not by this installation; set {NAME_VARIABLE} to a "
            "name of your own, or take it away first"
        )


async def _taken_limits(client: PrefectClient) -> list[str]:
    found = []
    for name in here().limits("default"):
        try:
            await client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            continue
        found.append(name)
    return found


async def _taken_pools(client: PrefectClient) -> list[str]:
    # One that nobody's deployments use may have been made for us: of a type that setup would not choose.
    name = here().name
    in_it = WorkPoolFilter(name=WorkPoolFilterName(any_=[name]))
    deployments = await client.read_deployments(work_pool_filter=in_it)
    return [] if all(is_ours(deployment) for deployment in deployments) else [name]


async def _taken_deployments(client: PrefectClient) -> list[str]:
    found = []
    for name in deployment_names():
        try:
            deployment = await client.read_deployment_by_name(name)
        except ObjectNotFound:
            continue
        if not is_ours(deployment):
            found.append(name)
    return found
