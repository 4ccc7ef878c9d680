"""Flow ``housekeeping``: what nobody needs any more goes, and what crashes left behind is taken back."""

from prefect import flow

from blocks.access import open_access
from bouncer.housekeeping import KEPT_UNLESS_TOLD, Retention
from flows.parameters import AccountName
from tasks.forget_runs import forget_runs
from tasks.ownership import new_owner
from tasks.recover import recover
from tasks.report_tidying import Tidied, report_tidying
from tasks.tidy import close_empty_batches, delete_old_results, delete_old_rows

__all__ = ["housekeeping"]


@flow(name="housekeeping", flow_run_name="housekeeping", persist_result=False)
async def housekeeping(retention: Retention = KEPT_UNLESS_TOLD, account: AccountName = "default") -> Tidied:
    """Deletes what is too old, frees leaked slots, and takes back contacts of batches that are gone.

    Nothing waits for it: it works in small transactions, and can be stopped and run again at any time. Needs the
    blocks bouncer-account and contacts-database.

    Args:
        retention: For how many days each kind of thing is kept.
        account: The name of the Bouncer Account block whose slots and batches are looked after.
    """
    async with open_access(account, new_owner()) as access:
        recovered = await recover(access)
        closed = await close_empty_batches(access)
        rows = await delete_old_rows(access, retention)
        results = await delete_old_results(access, retention)
        runs, artifacts = await forget_runs(retention.run_days)
        return await report_tidying(
            Tidied(
                rows={**rows, "Bouncer_Results": results},
                flow_runs=runs,
                artifacts=artifacts,
                slots=recovered.slots,
                contacts=recovered.contacts,
                empty_batches=closed,
                left_behind=len(recovered.waiting),
            )
        )
