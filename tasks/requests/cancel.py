"""The steps of a cancellation: mark the request, withdraw what was not sent, finish what Bouncer has."""

from collections.abc import Sequence

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from blocks.access import Access
from bouncer.batches.state import BatchTitle
from bouncer.batches.unsettled import ownerless
from bouncer.errors import BatchLost, FinishRefused
from bouncer.plurals import counted
from bouncer.requests import cancelling
from bouncer.steps.retries import AWAY

__all__ = ["finish_in_flight", "left_behind", "mark_cancelled", "withdraw"]


@task(name="mark-cancelled", task_run_name="mark as cancelled", cache_policy=NO_CACHE, persist_result=False)
async def mark_cancelled(access: Access, request_id: int, by: str, reason: str) -> bool:
    """Marks the request; from here on nothing of it is claimed or sent, by anybody.

    Safe to run twice: the first one's name and reason stay.

    Args:
        access: The database.
        request_id: The request.
        by: Who wants it.
        reason: Why.

    Returns:
        Whether it was not cancelled before.

    Raises:
        InputRefused: There is no such request.
    """
    return await cancelling.mark(access, request_id, by=by, reason=reason)


async def withdraw(access: Access, request_id: int) -> int:
    """Takes the contacts that wait, and those of batches that were not sent, out of the queue.

    In transactions of some thousand contacts. Safe to run twice: what has left is not found again.

    Args:
        access: The database.
        request_id: The request, marked as cancelled.

    Returns:
        How many contacts left the queue.
    """
    undone = await cancelling.withdraw_unsent(access, request_id)
    withdrawn = 0
    while some := await cancelling.withdraw_waiting(access, request_id):
        withdrawn += some
    if undone or withdrawn:
        get_run_logger().info(
            "%s left the queue; %s not sent yet",
            counted(withdrawn, "contact"),
            counted(undone, "batch was", "batches were"),
        )
    return withdrawn


async def finish_in_flight(accounts: Sequence[Access], request_id: int) -> int:
    """Asks Bouncer to finish the batches of the request that it works on; it gives back what is not verified.

    Safe to run twice: Bouncer is asked once for each batch, or again where it could not be reached.

    Args:
        accounts: The accounts, over one database.
        request_id: The request, marked as cancelled.

    Returns:
        How many batches Bouncer was asked to finish.

    Raises:
        KeyRefused: A key is wrong.
    """
    log = get_run_logger()
    by_name = {access.name: access for access in accounts}
    asked = 0
    for batch in await cancelling.to_finish(accounts[0], request_id):
        access = by_name.get(batch.account)
        if access is None:
            log.warning("block bouncer-account/%s is missing; batch %d goes on to its end", batch.account, batch.id)
            continue
        try:
            await access.client.finish(batch.bouncer_id)
        except AWAY as error:
            log.warning("%s; batch %d is finished a little later", error, batch.id)
            continue
        except FinishRefused as error:
            log.warning("%s; batch %d goes on to its end, or is finished by the next cancellation", error, batch.id)
            continue
        except BatchLost as error:
            # Its run sees for itself what has become of it.
            log.warning("%s", error)
        await cancelling.note_finish_requested(access, batch.id)
        asked += 1
    if asked:
        log.info("%s finished early at Bouncer", counted(asked, "batch is", "batches are"))
    return asked


async def left_behind(accounts: Sequence[Access], request_id: int) -> list[BatchTitle]:
    """The batches of the request that nobody works on."""
    return [batch for access in accounts for batch in await ownerless(access, access.name, request_id)]
