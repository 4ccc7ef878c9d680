"""Flow ``requeue``: failed contacts go back into the queue, and their dead letters are marked reviewed."""

from prefect import flow, get_run_logger

from blocks.access import open_access
from bouncer import requeueing
from bouncer.requeueing import Requeued
from flows.parameters import RequestId
from tasks.ownership import new_owner

__all__ = ["requeue"]


@flow(name="requeue", flow_run_name="requeue", persist_result=False)
async def requeue(request_id: RequestId | None = None, held: bool = False, dry_run: bool = False) -> Requeued:
    """Puts failed contacts back into the queue; the next ingest sends them.

    Args:
        request_id: The number of one request, whose contacts alone are queued again; all requests if left at None.
        held: Also send again the batches whose upload was lost and that were held. They may be paid twice.
        dry_run: Only say what it would do.
    """
    async with open_access("default", new_owner()) as access:
        report = await access.write(requeueing.requeue, request_id=request_id, held=held, dry_run=dry_run)
    get_run_logger().info(
        "%s %d contacts, %d dead letters, %d held batches",
        "would requeue" if dry_run else "requeued",
        report.contacts,
        report.dead_letters,
        report.held,
    )
    return report
