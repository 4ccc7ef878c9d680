"""The work pool that workers serve, with a queue for each priority, so that urgent batches go first."""

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import WorkerStatus, WorkPool
from prefect.exceptions import ObjectNotFound

from bouncer.errors import SettingRefused
from bouncer.installation import here
from tasks.queue.dispatch import QUEUES

__all__ = ["busy_workers", "ensure_work_pool", "forget_work_pool", "is_own_pool", "missing_queues", "pool_name"]

_DESCRIPTION = "Runs of bouncer-flows"


def pool_name(chosen: str | None) -> str:
    """The pool whose workers run this installation.

    Args:
        chosen: What WORK_POOL names; None for a pool of the installation's own, which has its name.
    """
    return chosen or here().name


def is_own_pool(pool: WorkPool) -> bool:
    """Tells whether setup made the pool for this installation alone."""
    return pool.name == here().name and (pool.description or "").startswith(_DESCRIPTION)


async def missing_queues(client: PrefectClient, pool: str) -> list[str]:
    """Says what of the work pool is missing; nothing is changed."""
    try:
        await client.read_work_pool(pool)
    except ObjectNotFound:
        return [f"work pool {pool} is missing"]
    priorities = {queue.name: queue.priority for queue in await client.read_work_queues(work_pool_name=pool)}
    return [
        f"work queue {pool}/{name} is missing" + (" or has another priority" if pool == here().name else "")
        for priority, name in _queues(pool)
        if priorities.get(name) is None or (pool == here().name and priorities[name] != priority)
    ]


async def ensure_work_pool(client: PrefectClient, pool: str) -> list[str]:
    """Makes the queues where they are missing, and the installation's own pool, of type process.

    A pool that is there keeps its type. In one that others use too, nothing but queues of our own is made.

    Args:
        client: Of the Prefect server.
        pool: Its name.

    Returns:
        A line for each thing that was made.

    Raises:
        SettingRefused: WORK_POOL names a pool that is not there.
    """
    changes: list[str] = []
    is_own = pool == here().name
    try:
        await client.read_work_pool(pool)
    except ObjectNotFound:
        if not is_own:
            raise SettingRefused(f"WORK_POOL: there is no work pool {pool}; make it in Prefect first") from None
        text = f"{_DESCRIPTION}; start workers with: prefect worker start --pool {pool}"
        await client.create_work_pool(WorkPoolCreate(name=pool, type="process", description=text))
        changes.append(f"work pool {pool} made")
    queues = {queue.name: queue for queue in await client.read_work_queues(work_pool_name=pool)}
    for priority, name in _queues(pool):
        queue = queues.get(name)
        if queue is None:
            # In a pool of others it comes after their queues.
            await client.create_work_queue(name=name, priority=priority if is_own else None, work_pool_name=pool)
            changes.append(f"work queue {pool}/{name} made")
        elif is_own and queue.priority != priority:
            await client.update_work_queue(queue.id, priority=priority)
            changes.append(f"work queue {pool}/{name} has priority {priority} again")
    return changes


async def busy_workers(client: PrefectClient, name: str) -> int:
    """Counts the workers that ask for runs of the installation's own pool; 0 for a pool of others.

    Args:
        client: Of the Prefect server.
        name: The pool.
    """
    try:
        if not is_own_pool(await client.read_work_pool(name)):
            return 0
    except ObjectNotFound:
        return 0
    workers = await client.read_workers_for_work_pool(name)
    return sum(worker.status == WorkerStatus.ONLINE for worker in workers)


async def forget_work_pool(client: PrefectClient, name: str) -> list[str]:
    """Deletes the installation's own pool, or its queues in another one.

    Returns:
        A line for each thing that was deleted.
    """
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        return []
    if is_own_pool(pool):
        await client.delete_work_pool(name)
        return [f"work pool {name} deleted"]
    ours = {queue for _, queue in _queues(name)}
    changes = []
    for queue in await client.read_work_queues(work_pool_name=name):
        if queue.name in ours:
            await client.delete_work_queue_by_id(queue.id)
            changes.append(f"work queue {name}/{queue.name} deleted")
    return changes


def _queues(pool: str) -> list[tuple[int, str]]:
    return [(priority, here().queue(pool, name)) for priority, name in enumerate(QUEUES.values(), start=1)]
