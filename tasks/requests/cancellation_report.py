"""Report on a cancellation, or on its dry run, for people and programs."""

from dataclasses import dataclass

from prefect import get_run_logger

from blocks.access import Access
from bouncer.plurals import counted
from bouncer.requests import cancelling
from bouncer.requests.counting import count_contacts

__all__ = ["Cancelled", "foretell", "report_cancellation"]


@dataclass(frozen=True)
class Cancelled:
    """Result of a cancellation, or of its dry run.

    Attributes:
        request_id: The request.
        withdrawn: Contacts that left the queue, or would leave it.
        batches: Batches of it at Bouncer that are not loaded yet.
        unverified: Addresses in them that are not verified yet, whose credits would come back.
        verified: Contacts that have a verdict.
        failed: Contacts that failed for other reasons.
        left: Contacts that are in flight, some of them in batches of other requests.
        dry_run: Whether nothing was changed.
        message: One line for people.
    """

    request_id: int
    withdrawn: int
    batches: int
    unverified: int
    verified: int
    failed: int
    left: int
    dry_run: bool
    message: str


async def foretell(access: Access, request_id: int) -> Cancelled:
    """Says what cancelling a request would do, and changes nothing.

    Raises:
        InputRefused: There is no such request.
    """
    return await _report(access, request_id, dry_run=True)


async def report_cancellation(access: Access, request_id: int) -> Cancelled:
    """Counts what has become of a cancelled request."""
    return await _report(access, request_id, dry_run=False)


async def _report(access: Access, request_id: int, *, dry_run: bool) -> Cancelled:
    ahead = await cancelling.prospect(access, request_id)
    now = await count_contacts(access, request_id)
    if dry_run:
        withdrawn = ahead.waiting + ahead.unsent
        contacts, batches = counted(withdrawn, "contact"), counted(ahead.batches, "batch", "batches")
        message = (
            f"request {request_id} would be cancelled: {contacts} would leave the queue, {batches} would be finished "
            f"early at Bouncer, with {counted(ahead.unverified, 'address', 'addresses')} not verified yet"
        )
    else:
        withdrawn = now.cancelled
        message = f"request {request_id} is cancelled: {counted(withdrawn, 'contact')} left the queue"
        message += f", {counted(now.completed, 'has', 'have')} a verdict"
        if now.open:
            message += f", {counted(now.open, 'is', 'are')} still in flight and will have a verdict"
    get_run_logger().info("%s", message)
    return Cancelled(
        request_id=request_id,
        withdrawn=withdrawn,
        batches=ahead.batches,
        unverified=ahead.unverified,
        verified=now.completed,
        failed=now.failed,
        left=now.open,
        dry_run=dry_run,
        message=message,
    )
