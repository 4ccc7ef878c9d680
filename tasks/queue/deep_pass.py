"""Picking the contacts that are worth a deeper look out of those that have a verdict."""

from dataclasses import dataclass

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from blocks.access import Access
from bouncer.plurals import counted
from bouncer.repeats import deep_pass
from bouncer.repeats.deep_pass import Risk
from bouncer.requests.kept_counts import requests_with_contacts

__all__ = ["Picked", "pick_risky"]


@dataclass(frozen=True)
class Picked:
    """Result of picking contacts.

    Attributes:
        contacts: Contacts that were queued for the deep pass.
        request_id: The request that they are in, where only one was looked through and it has a deep pass.
    """

    contacts: int
    request_id: int | None


@task(name="pick-risky", task_run_name="pick risky contacts", cache_policy=NO_CACHE, persist_result=False)
async def pick_risky(access: Access, request_id: int | None, risk: Risk, *, again: bool) -> Picked:
    """Queues the risky contacts of a request, or of all, for the deep pass.

    Safe to run twice: a contact is not requeued while it waits, nor while its deep verdict is fresh.

    Args:
        access: A deep account, and the database.
        request_id: Only this request, or None for all.
        risk: Which contacts to take.
        again: Take also those that the deep pass has looked at already.

    Returns:
        What was picked.

    Raises:
        InputRefused: There is no such request.
    """
    requests = await requests_with_contacts(access) if request_id is None else [request_id]
    picked = 0
    for request in requests:
        after: int | None = 0
        while after is not None:
            stretch = await deep_pass.pick_some(
                access,
                request,
                risk,
                after=after,
                fresh_days=access.account.result_max_age_days,
                again=again,
            )
            after = stretch.last
            picked += stretch.picked
    get_run_logger().info("%s picked for the deep pass", counted(picked, "contact"))
    return Picked(picked, await deep_pass.deep_request_of(access, request_id) if request_id is not None else None)
