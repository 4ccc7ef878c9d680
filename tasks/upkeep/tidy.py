"""Tidying the database: old rows and empty batches go, in transactions so small that nobody waits for them."""

import math
from collections.abc import Sequence

from prefect import get_run_logger

from blocks.access import Access
from bouncer.batches import transitions
from bouncer.errors import BouncerFlowsError
from bouncer.requests import kept_counts
from bouncer.upkeep import retention as old_rows
from bouncer.upkeep.retention import OLD_ROWS, Retention

__all__ = ["close_empty_batches", "delete_old_results", "delete_old_rows", "keep_counts"]


async def delete_old_rows(access: Access, retention: Retention) -> dict[str, int]:
    """Deletes what is of no use beyond its age: counts of requests and figures of health.

    Safe to run twice: what is gone is not found again.

    Args:
        access: The database.
        retention: How many days each is kept.

    Returns:
        Rows deleted, by table.
    """
    deleted: dict[str, int] = {}
    for field, old in OLD_ROWS.items():
        days, after, count = getattr(retention, field), None, 0
        while found := await old_rows.find_old_rows(access, old, days=days, after=after):
            count += await old_rows.delete_rows(access, old, found)
            after = found[-1]
        deleted[old.key.class_.__tablename__] = count
    return deleted


async def keep_counts(access: Access) -> int:
    """Counts requests at rest once and keeps that, so that nobody reads their contacts again to count them.

    Safe to run twice: what is counted is not found again.

    Returns:
        Requests counted.
    """
    return await access.compute(kept_counts.keep_counts, access.engine)


async def delete_old_results(accounts: Sequence[Access], retention: Retention) -> int:
    """Deletes detailed results beyond their age, where one is set; contacts keep their latest verdict.

    Results whose verdict may still be used again are kept, because a contact that gets it again gets its details
    too. Safe to run twice.

    Args:
        accounts: The accounts, over one database, that tell for how long verdicts are used again.
        retention: How many days results are kept.

    Returns:
        Results deleted.
    """
    if retention.result_days is None:
        return 0
    reused = max(access.account.result_max_age_days for access in accounts)
    kept = _days_kept(retention.result_days, reused)
    if kept > retention.result_days:
        get_run_logger().warning(
            "results are kept for %d days and not for %d, because verdicts are used again for so long; "
            "RESULT_MAX_AGE_DAYS changes that",
            kept,
            retention.result_days,
        )
    database, after, deleted = accounts[0], 0, 0
    while found := await old_rows.find_batches_with_old_results(database, days=kept, after=after):
        for batch in found:
            while some := await old_rows.delete_results(database, batch):
                deleted += some
        after = found[-1]
    return deleted


async def close_empty_batches(access: Access) -> int:
    """Closes batches whose contacts are gone, and asks Bouncer for the credits of what it has not verified of them.

    Safe to run twice: a closed batch is not found again.

    Returns:
        Batches closed.
    """
    closed = 0
    for batch, bouncer_id in await old_rows.find_empty_batches(access, access.name):
        if bouncer_id is not None:
            try:
                await access.client.finish(bouncer_id)
            except BouncerFlowsError as error:
                # It may have been completed or forgotten long ago; there is nothing to load either way.
                get_run_logger().warning("%s; batch %d is closed all the same", error, batch)
        closed += await transitions.close_empty(access, batch)
    return closed


def _days_kept(wanted: int, reused: float) -> int:
    # One more than verdicts are used again, since a result is as old as its batch, which ends a little later.
    return max(wanted, math.ceil(reused) + 1) if reused else wanted
