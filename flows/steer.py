"""Flow ``steer``: uploads pause, or go on."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.parameters import AccountName, Reason
from tasks.accounts.pausing import Action, switch_uploads
from tasks.running.heartbeats import sends_heartbeats

__all__ = ["steer"]


@flow(name="steer", flow_run_name="{action} uploads", persist_result=False)
@sends_heartbeats
async def steer(
    action: Action,
    reason: Reason = "by hand",
    by: Annotated[str, Field(min_length=1, max_length=100)] = "the Prefect UI",
    account: AccountName | None = None,
) -> list[str]:
    """Pauses uploads, or lets them go on; batches in flight are polled and loaded to their end in any case.

    After a pause the limits pace the uploads as ever, so that nothing rushes. Needs the block contacts-database.

    Args:
        action: Pause: no upload begins any more. Resume: uploads begin again.
        reason: The reason, for others to read.
        by: Who wants it.
        account: The name of one Bouncer account block; all of them if left at None.
    """
    return await switch_uploads(action, account, by, reason)
