"""The work pool that workers serve, with a queue for each priority, so that urgent batches go first."""

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound

from tasks.queue.dispatch import QUEUES

__all__ = ["WORK_POOL", "ensure_work_pool", "missing_queues"]

WORK_POOL = "bouncer"

_DESCRIPTION = "Runs of bouncer-flows; start workers with: prefect worker start --pool bouncer"


async def missing_queues(client: PrefectClient) -> list[str]:
    """Says what of the work pool is missing; nothing is changed."""
    try:
        await client.read_work_pool(WORK_POOL)
    except ObjectNotFound:
        return [f"work pool {WORK_POOL} is missing"]
    priorities = {queue.name: queue.priority for queue in await client.read_work_queues(work_pool_name=WORK_POOL)}
    return [
        f"work queue {WORK_POOL}/{name} is missing or has another priority"
        for priority, name in enumerate(QUEUES.values(), start=1)
        if priorities.get(name) != priority
    ]


async def ensure_work_pool(client: PrefectClient) -> list[str]:
    """Makes the work pool, of type process, and its queues where they are missing; an existing pool keeps its type.

    Returns:
        A line for each thing that was made.
    """
    changes: list[str] = []
    try:
        await client.read_work_pool(WORK_POOL)
    except ObjectNotFound:
        await client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process", description=_DESCRIPTION))
        changes.append(f"work pool {WORK_POOL} made")
    queues = {queue.name: queue for queue in await client.read_work_queues(work_pool_name=WORK_POOL)}
    for priority, name in enumerate(QUEUES.values(), start=1):
        queue = queues.get(name)
        if queue is None:
            await client.create_work_queue(name=name, priority=priority, work_pool_name=WORK_POOL)
            changes.append(f"work queue {WORK_POOL}/{name} made")
        elif queue.priority != priority:
            await client.update_work_queue(queue.id, priority=priority)
            changes.append(f"work queue {WORK_POOL}/{name} has priority {priority} again")
    return changes
