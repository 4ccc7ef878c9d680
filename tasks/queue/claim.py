"""Claiming contacts out of the queue and laying them out into batches."""

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from blocks.access import Access
from bouncer.accounts import state as account_state
from bouncer.api.request_gate import realtime_within_hour
from bouncer.plurals import counted
from bouncer.queue import claiming, fair_order
from bouncer.queue.claiming import Claimed
from tasks.costs.budget import Budget

__all__ = ["claim", "claim_small"]


@task(name="claim", task_run_name="claim", cache_policy=NO_CACHE, persist_result=False)
async def claim(
    access: Access,
    batches: int,
    request_id: int | None,
    budget: Budget,
    *,
    at_once: int | None = None,
    for_workers: bool = False,
) -> Claimed:
    """Takes the next contacts out of the queue, settles the known ones, and makes batches of the others.

    Safe to run twice: what one run claimed, no other sees; batches that a crash leaves behind are taken up by the
    next ingest.

    Args:
        access: The account and the database.
        batches: The most batches to make.
        request_id: Only this request, or None for all.
        budget: What the run may commit; the new batches are noted in it.
        at_once: Only a request with at most so many waiting contacts, for real time; None for any, in batches.
        for_workers: Whether workers take the batches: then no more are made than there is room for, wherever the
            others are.

    Returns:
        The new batches, how many contacts were settled, joined to batches in flight, or invalid, and which caps keep
        others in the queue.
    """
    claimed = await claiming.claim(
        access,
        access.name,
        batches=batches,
        batch_size=access.account.batch_size,
        fresh_for=access.account.fresh_for,
        request_id=request_id,
        layer=access.layer,
        spending=budget.spending,
        at_once=at_once,
        places=access.account.places if for_workers else None,
    )
    budget.note(claimed.batches)
    if claimed.contacts:
        get_run_logger().info(
            "claimed %s: %s; %d with a known verdict, %d behind a batch in flight, %d invalid",
            counted(claimed.contacts, "contact"),
            counted(len(claimed.batches), "batch", "batches"),
            claimed.reused,
            claimed.joined,
            claimed.invalid,
        )
    return claimed


async def claim_small(access: Access, request_id: int | None, budget: Budget) -> Claimed:
    """Claims a request with so few waiting contacts that the account verifies them in real time, if one waits.

    Args:
        access: The account and the database.
        request_id: Only this request, or None for all.
        budget: What the run may commit.

    Returns:
        As ``claim``; all zeros where none waits, the account is paused, does not verify in real time, or has no room
        left for it in this hour.
    """
    most = access.account.realtime_max_addresses
    if not most or (await account_state.read_state(access, access.name)).paused_ts is not None:
        return Claimed()
    room = access.account.realtime_per_hour - await realtime_within_hour(access, access.name)
    most = min(most, room)
    if most <= 0:
        return Claimed()
    # Looked at first without a lock, and without a task run each time.
    if not await fair_order.small_request_waits(access, access.layer, request_id, most):
        return Claimed()
    return await claim(access, 1, request_id, budget, at_once=most)
