"""Requeueing failed contacts."""

import asyncio

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from blocks.access import open_database
from bouncer.plurals import counted
from bouncer.requests import requeueing
from bouncer.requests.names import find_request
from bouncer.requests.requeueing import Requeued

__all__ = ["requeue_failed"]


@task(name="requeue-failed", task_run_name="requeue failed", cache_policy=NO_CACHE, persist_result=False)
async def requeue_failed(request: int | str | None, dead_letter: int | None, *, held: bool, dry_run: bool) -> Requeued:
    """Puts failed contacts back into the queue and marks their dead letters reviewed.

    Safe to run twice: what waits already is not touched.

    Args:
        request: The name or number of one request, or None for all.
        dead_letter: Only the contacts of this dead letter's batch.
        held: Also send the held batches again.
        dry_run: Only count.

    Returns:
        What was done, or would be.

    Raises:
        InputRefused: There is no such request or dead letter.
    """
    engine = await open_database()
    request_id = await asyncio.to_thread(find_request, engine, request) if isinstance(request, str) else request
    report = await asyncio.to_thread(
        requeueing.requeue, engine, request_id=request_id, dead_letter=dead_letter, held=held, dry_run=dry_run
    )
    get_run_logger().info(
        "%s %s, %s, %s",
        "would requeue" if dry_run else "requeued",
        counted(report.contacts, "contact"),
        counted(report.dead_letters, "dead letter"),
        counted(report.held, "held batch", "held batches"),
    )
    return report
