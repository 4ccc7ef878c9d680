"""Ends batches that cannot be verified as they are; none of their contacts is lost."""

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from blocks.access import Access
from bouncer.accounts import state as account_state
from bouncer.batches import endings
from bouncer.batches.state import BatchWork
from bouncer.errors import BouncerFlowsError
from tasks.running.events import announce

__all__ = ["dissolve_batch", "fail_batch", "lose_batch", "return_unpaid", "split_batch", "withdraw_batch"]


async def return_unpaid(access: Access, batch: BatchWork, error: BouncerFlowsError) -> State[None]:
    """Puts the contacts of a batch that the account cannot pay for back into the queue, and pauses the account."""
    # First, or contacts that are back would be claimed again before the pause.
    paused = await access.write(account_state.pause, access.name, by="ingest", reason=account_state.OUT_OF_CREDITS)
    returned = await access.write(endings.dissolve, batch)
    if paused:
        announce("credits.exhausted", account=access.name, contacts=returned)
    message = f"{error}; {returned:,} contacts are back in the queue, and uploads pause until there are credits"
    get_run_logger().warning("%s", message)
    return Completed(name="OutOfCredits", message=message)


async def withdraw_batch(access: Access, batch: BatchWork, error: BouncerFlowsError) -> State[None]:
    """Undoes a batch whose request was cancelled before it was sent; the cancellation takes its contacts."""
    returned = await access.write(endings.dissolve, batch)
    message = f"{error}; {returned:,} contacts left it"
    get_run_logger().info("%s", message)
    return Completed(name="Cancelled", message=message)


async def dissolve_batch(access: Access, batch: BatchWork, error: BouncerFlowsError) -> State[None]:
    """Undoes a batch whose addresses are all gone; the next claim fails each contact that is left, with its reason."""
    returned = await access.write(endings.dissolve, batch)
    message = f"{error}; {returned:,} contacts are back in the queue, to be looked at one by one"
    get_run_logger().info("%s", message)
    return Completed(name="NothingToSend", message=message)


async def split_batch(access: Access, batch: BatchWork, error: BouncerFlowsError) -> State[None]:
    """Halves a batch that Bouncer refuses; what cannot be halved any more fails."""
    halves = await access.write(endings.split, batch)
    if not halves:
        return await fail_batch(access, batch, error)
    message = f"{error}; sent again as batches {halves[0]} and {halves[1]}, to find the addresses that it is about"
    get_run_logger().warning("%s", message)
    return Completed(name="Split", message=message)


async def fail_batch(access: Access, batch: BatchWork, error: BouncerFlowsError) -> State[None]:
    """Fails a batch for good: a dead letter, and its contacts failed with the reason."""
    failed = await access.write(endings.fail, batch, str(error))
    announce("batch.failed", account=access.name, batch=batch.id, contacts=failed, reason=str(error))
    return Failed(message=f"{error}; {failed:,} contacts failed. To send them again: bouncer-flows requeue")


async def lose_batch(access: Access, batch: BatchWork, error: BouncerFlowsError) -> State[None]:
    """Closes a batch that Bouncer lost; its contacts are sent again in other batches."""
    returned = await access.write(endings.lose, batch, str(error))
    announce("batch.lost", account=access.name, batch=batch.id, contacts=returned, reason=str(error))
    return Failed(name="Lost", message=f"{error}; {returned:,} contacts are requeued")
