"""Flow ``housekeeping``: deletes what is past retention, and takes back what crashes left behind."""

from prefect import flow

from blocks.access import open_accounts
from bouncer.upkeep.retention import KEPT_UNLESS_TOLD, Retention
from tasks.batches.ownership import new_owner
from tasks.batches.recovery import recover
from tasks.running.heartbeats import sends_heartbeats
from tasks.upkeep.deletion import delete_left_ones
from tasks.upkeep.forget_runs import forget_runs
from tasks.upkeep.idle_ticks import leave_no_trace
from tasks.upkeep.tidy import close_empty_batches, delete_old_results, delete_old_rows, keep_counts
from tasks.upkeep.tidying_report import Tidied, report_tidying

__all__ = ["housekeeping"]


@flow(name="housekeeping", flow_run_name="housekeeping", persist_result=False)
@sends_heartbeats
async def housekeeping(retention: Retention = KEPT_UNLESS_TOLD) -> Tidied:
    """Deletes what is too old, frees leaked slots, and takes back contacts of batches that are gone.

    Nothing waits for it: it works in small transactions, and can be stopped and run again at any time. Looks after
    all accounts. Needs the blocks bouncer-account and contacts-database.

    Args:
        retention: For how many days each kind of thing is kept.
    """
    async with open_accounts(None, new_owner()) as opened:
        # No task runs: they would be 24 events on the server, 170 kB, each hour.
        recovered = [await recover.fn(access) for access in opened]
        closed = [await close_empty_batches(access) for access in opened]
        deleted = [await delete_left_ones(access) for access in opened]
        # Before results are deleted, which hold the verdicts that are counted.
        await keep_counts(opened[0])
        rows = await delete_old_rows(opened[0], retention)
        results = await delete_old_results(opened, retention)
        runs, artifacts = await forget_runs(retention.run_days)
        tidied = Tidied(
            rows={**rows, "Bouncer_Results": results},
            flow_runs=runs,
            artifacts=artifacts,
            slots=sum(found.slots for found in recovered),
            contacts=sum(found.contacts for found in recovered),
            empty_batches=sum(closed),
            deleted_at_bouncer=sum(deleted),
            left_behind=sum(len(found.waiting) for found in recovered),
        )
        await report_tidying(tidied)
        if tidied.is_routine:
            await leave_no_trace()
        return tidied
