"""Deleting loaded batches at Bouncer, where DELETE_AT_BOUNCER or an erasure asks for it."""

import logging
from typing import Any

from prefect import get_run_logger

from blocks.access import Access
from bouncer.errors import BatchLost, BouncerFlowsError
from bouncer.upkeep import deletions

__all__ = ["delete_at_bouncer", "delete_erased", "delete_left_ones"]

_log = logging.getLogger(__name__)
_Log = logging.Logger | logging.LoggerAdapter[Any]


async def delete_at_bouncer(access: Access, batch: int, bouncer_id: str) -> bool:
    """Asks Bouncer to delete the addresses and results of a loaded batch; what fails is left to housekeeping.

    Only where the account is set so, or an address of the batch was erased. Safe to run twice: Bouncer answers 404
    the second time, and that is as good.

    Args:
        access: The account and the database.
        batch: The batch, loaded.
        bouncer_id: Bouncer's id of it.

    Returns:
        Whether Bouncer has nothing of it any more.
    """
    if access.account.delete_at_bouncer == "never" and not await deletions.has_erased(access, batch):
        return False
    return await _delete(access, batch, bouncer_id, get_run_logger())


async def delete_erased(access: Access) -> int:
    """Asks Bouncer to delete the batches at their end of which an address was erased; for callers outside of runs.

    Returns:
        Batches of which Bouncer has nothing any more.
    """
    found = await deletions.to_delete(access, access.name, every=False)
    return sum([await _delete(access, batch, bouncer_id, _log) for batch, bouncer_id in found])


async def _delete(access: Access, batch: int, bouncer_id: str, log: _Log) -> bool:
    try:
        await access.client.delete_batch(bouncer_id)
    except BatchLost:
        # It has none, or none any more.
        pass
    except BouncerFlowsError as error:
        log.warning("%s; housekeeping asks again to delete batch %d at Bouncer", error, batch)
        return False
    await deletions.note_deleted(access, batch)
    return True


async def delete_left_ones(access: Access) -> int:
    """Asks again for the deletions that failed, and for those of batches from before DELETE_AT_BOUNCER was set.

    Batches with an erased address are deleted in any case. Safe to run twice: a deleted batch is not found again.

    Returns:
        Batches deleted.
    """
    every = access.account.delete_at_bouncer != "never"
    found = await deletions.to_delete(access, access.name, every=every)
    return sum([await _delete(access, batch, bouncer_id, get_run_logger()) for batch, bouncer_id in found])
