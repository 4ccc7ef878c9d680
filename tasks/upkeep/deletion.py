"""Deleting loaded batches at Bouncer, where DELETE_AT_BOUNCER asks for it."""

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from blocks.access import Access
from bouncer.errors import BatchLost, BouncerFlowsError
from bouncer.upkeep import deletions

__all__ = ["delete_at_bouncer", "delete_left_ones"]


async def delete_at_bouncer(access: Access, batch: int, bouncer_id: str) -> bool:
    """Asks Bouncer to delete the addresses and results of a loaded batch; what fails is left to housekeeping.

    Safe to run twice: Bouncer answers 404 the second time, and that is as good.

    Args:
        access: The account and the database.
        batch: The batch, loaded.
        bouncer_id: Bouncer's id of it.

    Returns:
        Whether Bouncer has nothing of it any more.
    """
    if access.account.delete_at_bouncer == "never":
        return False
    try:
        await access.client.delete_batch(bouncer_id)
    except BatchLost:
        # It has none, or none any more.
        pass
    except BouncerFlowsError as error:
        get_run_logger().warning("%s; housekeeping asks again to delete batch %d at Bouncer", error, batch)
        return False
    await deletions.note_deleted(access, batch)
    return True


@task(name="delete-at-bouncer", task_run_name="delete at Bouncer", cache_policy=NO_CACHE, persist_result=False)
async def delete_left_ones(access: Access) -> int:
    """Asks again for the deletions that failed, and for those of batches from before DELETE_AT_BOUNCER was set.

    Safe to run twice: a deleted batch is not found again.

    Returns:
        Batches deleted.
    """
    if access.account.delete_at_bouncer == "never":
        return 0
    found = await deletions.to_delete(access, access.name)
    return sum([await delete_at_bouncer(access, batch, bouncer_id) for batch, bouncer_id in found])
