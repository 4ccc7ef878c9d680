"""The steps of a batch as Prefect tasks, under the names that people see in the UI."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import httpx
from prefect import get_run_logger, task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import PrefectException

from blocks.access import Access
from bouncer.batches.load import LoadReport
from bouncer.batches.state import BatchWork
from bouncer.installation import here
from bouncer.plurals import counted
from bouncer.safe_text import in_markdown
from bouncer.steps import load as loading
from bouncer.steps import poll as polling
from bouncer.steps import realtime
from bouncer.steps import upload as uploading
from bouncer.steps.ports import Slot
from tasks.batches.run import PrefectRun
from tasks.batches.slots import batch_slot, give_back_stale_lease
from tasks.upkeep.deletion import delete_at_bouncer

__all__ = ["BatchSteps"]


@task(name="upload", task_run_name="upload", cache_policy=NO_CACHE, persist_result=False)
async def upload(access: Access, batch: BatchWork, slot: Slot) -> str:
    """Uploads a batch and writes down Bouncer's id; see ``bouncer.steps.upload``."""
    return await uploading.upload(access, PrefectRun(), batch, slot)


@task(name="poll", task_run_name="poll", cache_policy=NO_CACHE, persist_result=False)
async def poll(access: Access, batch: BatchWork, bouncer_id: str, use_room: Callable[[], Awaitable[None]]) -> None:
    """Waits until Bouncer has completed a batch; see ``bouncer.steps.poll``."""
    await polling.poll(access, PrefectRun(use_room), batch, bouncer_id)


@task(name="load", task_run_name="load", cache_policy=NO_CACHE, persist_result=False)
async def load(access: Access, batch: BatchWork, bouncer_id: str) -> LoadReport:
    """Downloads the verdicts of a batch, stores them, and shows them as a table; see ``bouncer.steps.load``."""
    report = await loading.load(access, PrefectRun(), batch, bouncer_id)
    await _show(batch, report)
    return report


@task(name="verify-now", task_run_name="verify now", cache_policy=NO_CACHE, persist_result=False)
async def verify_now(access: Access, batch: BatchWork) -> int:
    """Asks for each address of a small batch in real time; see ``bouncer.steps.realtime``."""
    return await realtime.verify_now(access, PrefectRun(), batch)


class BatchSteps:
    """Implements ``bouncer.steps.ports.Steps`` by the tasks above.

    Args:
        access: The account and the database.
        use_room: Claims and starts more batches where no ingest is there to do it.
    """

    def __init__(self, access: Access, use_room: Callable[[], Awaitable[None]]) -> None:
        self._access = access
        self._use_room = use_room

    async def give_back_stale_lease(self, batch: BatchWork) -> None:
        """Gives the slot back that an earlier owner held when it died."""
        await give_back_stale_lease(self._access, batch)

    def slot(self, batch: BatchWork) -> AbstractAsyncContextManager[Slot]:
        """Holds a slot of the account while the batch is in flight."""
        return batch_slot(self._access, batch)

    async def upload(self, batch: BatchWork, slot: Slot) -> str:
        """Uploads the batch in a task run of its own."""
        return await upload(self._access, batch, slot)

    async def poll(self, batch: BatchWork, bouncer_id: str) -> None:
        """Polls the batch in a task run of its own."""
        await poll(self._access, batch, bouncer_id, self._use_room)

    async def load(self, batch: BatchWork, bouncer_id: str) -> LoadReport:
        """Loads the batch in a task run of its own; then nothing of it is kept at Bouncer, where that is asked for."""
        report = await load(self._access, batch, bouncer_id)
        await delete_at_bouncer(self._access, batch.id, bouncer_id)
        return report

    async def verify_now(self, batch: BatchWork) -> int:
        """Verifies the batch in real time, in a task run of its own."""
        return await verify_now(self._access, batch)


async def _show(batch: BatchWork, report: LoadReport) -> None:
    counts = {**report.by_status, "none, requeued": report.missing}
    rows = [
        {
            "verdict": in_markdown(verdict),
            "contacts": f"{count:,}",
            "share": f"{count / max(1, sum(counts.values())):.1%}",
        }
        for verdict, count in sorted(counts.items(), key=lambda pair: -pair[1])
        if count
    ]
    about = f"Batch {batch.id}: what Bouncer said of {counted(batch.quantity, 'address', 'addresses')}"
    try:
        await acreate_table_artifact(rows, key=here().artifact(f"batch-{batch.id}-verdicts"), description=about)
    except (httpx.HTTPError, PrefectException) as error:
        # The verdicts are stored; a table that is missing in the UI must not make the run look failed.
        get_run_logger().warning("the table of batch %d could not be shown (%s)", batch.id, type(error).__name__)
