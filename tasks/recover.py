"""Taking back what a crash left behind: batches without a living owner, and the slots that dead runs held."""

from dataclasses import dataclass

from prefect import get_client, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

from blocks.access import Access
from blocks.limits import limit_name
from bouncer import batches, settling
from bouncer.batches import BatchTitle
from tasks.slots import give_back

__all__ = ["Recovered", "recover"]


@dataclass(frozen=True)
class Recovered:
    """What a crash had left behind.

    Attributes:
        waiting: Batches to go on with, most urgent first.
        contacts: Contacts that waited for batches which are gone; they are queued again.
        slots: Slots that dead runs held; they are free again.
    """

    waiting: list[BatchTitle]
    contacts: int
    slots: int


@task(name="recover", task_run_name="recover", cache_policy=NO_CACHE, persist_result=False)
async def recover(access: Access, request_id: int | None = None) -> Recovered:
    """Finds the batches that nobody works on any more, and frees the slots that their dead owners held.

    Safe to run twice: it gives batches to nobody; whoever runs them takes them by compare-and-set.

    Args:
        access: The account and the database.
        request_id: Only this request, or None for all.

    Returns:
        What it found.
    """
    orphans = await access.write(settling.requeue_orphans)
    if orphans:
        get_run_logger().warning("%d contacts waited for batches that are gone; they are queued again", orphans)
    waiting = await access.read(batches.ownerless, access.name, request_id)
    leases = await access.write(batches.forget_dead_leases, access.name)
    living = await access.read(batches.count_owned, access.name)
    slots = len(leases)
    async with get_client() as client:
        for lease in leases:
            await give_back(client, lease)
        name = limit_name("batches", access.name)
        limit = await client.read_global_concurrency_limit_by_name(name)
        if living == 0 and limit.active_slots > 0:
            get_run_logger().warning(
                "%d slots of %s were held by runs that are dead; they are free again", limit.active_slots, name
            )
            slots += limit.active_slots
            await client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=0))
    if waiting:
        get_run_logger().info("%d batches were left by earlier runs; they go on where they were", len(waiting))
    return Recovered(waiting, orphans, slots)
