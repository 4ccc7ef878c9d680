"""Flow ``requeue``: failed contacts go back into the queue, and their dead letters are marked reviewed."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from bouncer.requests.requeueing import Requeued
from flows.parameters import OneRequest
from tasks.requests.requeueing import requeue_failed
from tasks.running.heartbeats import sends_heartbeats

__all__ = ["requeue"]


@flow(name="requeue", flow_run_name="requeue", persist_result=False)
@sends_heartbeats
async def requeue(
    request_id: OneRequest | None = None,
    dead_letter: Annotated[int | None, Field(ge=1)] = None,
    held: bool = False,
    dry_run: bool = False,
) -> Requeued:
    """Puts failed contacts back into the queue; the next ingest sends them.

    Args:
        request_id: The name or number of one request, whose contacts alone are requeued; all requests if left at None.
            A cancelled request is requeued only if it is named here.
        dead_letter: The number of one dead letter, whose batch's contacts alone are requeued.
        held: Also send again the batches whose upload was lost and that were held. They may be paid twice.
        dry_run: Only report what would change.
    """
    return await requeue_failed(request_id, dead_letter, held=held, dry_run=dry_run)
