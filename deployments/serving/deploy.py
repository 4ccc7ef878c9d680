"""The deployments of this installation for workers: ``bouncer-flows deploy``."""

from prefect import get_client

from blocks.contacts_database import ContactsDatabase
from blocks.saved_blocks import load_saved
from bouncer.errors import SettingRefused
from bouncer.installation import here
from deployments.settings import Settings
from deployments.setup.account_blocks import saved_accounts
from deployments.setup.deployments_from_yaml import own_deployments, retire_former_deployments
from deployments.setup.set_up import set_up_deep_pass, set_up_pool
from deployments.setup.work_pool import pool_name

__all__ = ["deploy_for_workers"]


async def deploy_for_workers(settings: Settings, image: str | None = None) -> list[str]:
    """Makes the work pool's queues and the deployments, and the automation that names one of them.

    Args:
        settings: The environment.
        image: The image of the runs; what the pool, or somebody in the UI, says if it is left at None.

    Returns:
        A line for each thing that was made.

    Raises:
        SettingRefused: There was no setup, or it refused; WORK_POOL names a pool that is not there, or others have a
            deployment of one of these names.
    """
    if await load_saved(ContactsDatabase, here().block) is None:
        # Setup asks whose the names are. Without it the queues would go into a pool of others.
        raise SettingRefused(
            f"installation {here().name} is not on this Prefect server yet; run bouncer-flows setup first"
        )
    pool = pool_name(settings.work_pool)
    changes = await set_up_pool(settings)
    slots = sum(account.max_concurrent_batches for account in (await saved_accounts()).values())
    async with get_client() as client:
        for deployment in await own_deployments(client, slots or settings.max_concurrent_batches, pool):
            if image is not None:
                deployment.job_variables = {**deployment.job_variables, "image": image}
            await deployment.aapply()
            changes.append(f"deployment {deployment.flow_name}/{deployment.name} made")
        await retire_former_deployments(client)
        return [*changes, *await set_up_deep_pass(client)]
