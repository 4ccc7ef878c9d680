"""Taking back what a crash left behind: batches without a living owner, and the slots that dead runs held."""

from dataclasses import dataclass

from prefect import get_client, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from blocks.access import Access
from bouncer.batches import endings, ownership
from bouncer.batches.ownership import HEARTBEAT_SECONDS
from bouncer.batches.state import BatchTitle
from bouncer.batches.unsettled import ownerless
from bouncer.plurals import counted
from tasks.batches.slot_repair import mend_slots
from tasks.batches.slots import give_back
from tasks.running.stopping import sleep_unless_stopping

__all__ = ["Recovered", "recover"]

SIGN_OF_LIFE_SECONDS = HEARTBEAT_SECONDS + 2
"""After an outage of the database every owner looks dead. An owner still silent after this long is dead."""


@dataclass(frozen=True)
class Recovered:
    """Leftovers of a crash.

    Attributes:
        waiting: Batches to go on with, most urgent first.
        contacts: Contacts that waited for batches which are gone; they are requeued.
        slots: Slots that dead runs held, or that nobody held at all; they are free again.
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
    orphans = await endings.requeue_orphans(access)
    if orphans:
        get_run_logger().warning("%s requeued that waited for batches that are gone", counted(orphans, "contact"))
    if await ownership.has_leases_of_silent_owners(access, access.name):
        await sleep_unless_stopping(SIGN_OF_LIFE_SECONDS)
    waiting = await ownerless(access, access.name, request_id)
    leases = await ownership.forget_dead_leases(access, access.name)
    async with get_client() as client:
        for lease in leases:
            await give_back(client, lease)
    slots = len(leases) + await mend_slots(access)
    if waiting:
        get_run_logger().info(
            "%s left by earlier runs to go on where they were", counted(len(waiting), "batch", "batches")
        )
    return Recovered(waiting, orphans, slots)
