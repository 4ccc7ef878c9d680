"""Flow ``reverify``: contacts whose verdict has grown old go back into the queue, within a monthly budget."""

import asyncio
from typing import Annotated

from prefect import flow, get_run_logger
from pydantic import Field

from blocks.access import open_access
from bouncer.plurals import counted
from bouncer.repeats import reverification
from bouncer.repeats.reverification import Old, Reverified
from bouncer.verdicts.statuses import Status
from tasks.batches.ownership import new_owner
from tasks.running.heartbeats import sends_heartbeats

__all__ = ["reverify"]


@flow(name="reverify", flow_run_name="reverify", persist_result=False)
@sends_heartbeats
async def reverify(
    older_than_days: Annotated[float, Field(gt=0, le=3650)] = 180,
    monthly_budget: Annotated[int, Field(ge=0, le=100_000_000)] = 10_000,
    statuses: list[Status] | None = None,
    dry_run: bool = False,
) -> Reverified:
    """Queues the contacts with the oldest verdicts again, at low priority; the next ingest verifies them.

    They go into a request of their own, one a month. Needs the blocks contacts-database and bouncer-account/default,
    which says how long verdicts stay good.

    Args:
        older_than_days: Take contacts whose verdict is older.
        monthly_budget: The most contacts of a calendar month, over all runs, by the database's clock in UTC.
        statuses: Of these, only contacts with one of these verdicts; all if left at None.
        dry_run: Only report what would change.
    """
    async with open_access("default", new_owner()) as access:
        old = Old(older_than_days, tuple(statuses or ()), access.account.fresh_for)
        report = await asyncio.to_thread(
            reverification.reverify, access.engine, old, monthly_budget=monthly_budget, dry_run=dry_run
        )
    get_run_logger().info(
        "%s %s; left of the budget of %s: %d",
        "would queue" if dry_run else "queued",
        counted(report.contacts, "contact"),
        report.month,
        report.budget_left,
    )
    return report
