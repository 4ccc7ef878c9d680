"""Endings of a batch that cannot be verified as it is; none of its contacts is lost."""

from dataclasses import dataclass

from bouncer.accounts import state as account_state
from bouncer.batches import endings
from bouncer.batches.state import BatchWork
from bouncer.errors import BatchStuck, BouncerFlowsError
from bouncer.plurals import counted, numbered
from bouncer.steps.ports import Access, Run

__all__ = ["Ending", "dissolve", "fail", "lose", "return_unpaid", "split", "withdraw"]


@dataclass(frozen=True)
class Ending:
    """The end that a batch came to in a run.

    Attributes:
        name: What the state of the run is called.
        message: What happened, for people.
        is_failure: Whether somebody should look.
    """

    name: str
    message: str
    is_failure: bool = False


async def return_unpaid(access: Access, run: Run, batch: BatchWork, error: BouncerFlowsError) -> Ending:
    """Puts the contacts of a batch that the account cannot pay for back into the queue, and pauses the account."""
    # First, or contacts that are back would be claimed again before the pause.
    paused = await account_state.pause(
        access,
        access.name,
        by="ingest",
        reason="out of credits",
        kind=account_state.PauseKind.OUT_OF_CREDITS,
    )
    returned = await endings.dissolve(access, batch)
    if paused:
        run.announce("credits.exhausted", account=access.name, contacts=returned)
    message = f"{error}; {_back(returned)}, and uploads pause until there are credits"
    run.log.warning("%s", message)
    return Ending("OutOfCredits", message)


async def withdraw(access: Access, run: Run, batch: BatchWork, error: BouncerFlowsError) -> Ending:
    """Undoes a batch whose request was cancelled before it was sent; the cancellation takes its contacts."""
    returned = await endings.dissolve(access, batch)
    message = f"{error}; {counted(returned, 'contact')} left it"
    run.log.info("%s", message)
    return Ending("Cancelled", message)


async def dissolve(access: Access, run: Run, batch: BatchWork, error: BouncerFlowsError) -> Ending:
    """Undoes a batch whose addresses are all gone; the next claim fails each contact that is left, with its reason."""
    returned = await endings.dissolve(access, batch)
    message = f"{error}; {_back(returned)}, to be looked at one by one"
    run.log.info("%s", message)
    return Ending("NothingToSend", message)


async def split(access: Access, run: Run, batch: BatchWork, error: BouncerFlowsError) -> Ending:
    """Halves a batch that Bouncer refuses; what cannot be halved any more fails."""
    parts = await endings.split(access, batch)
    if not parts:
        return await fail(access, run, batch, error)
    message = f"{error}; sent again as {numbered(parts, 'batch', 'batches')}, to find the addresses that it is about"
    run.log.warning("%s", message)
    return Ending("Split", message)


async def fail(access: Access, run: Run, batch: BatchWork, error: BouncerFlowsError) -> Ending:
    """Fails a batch for good: a dead letter, and its contacts failed with the reason."""
    failed = await endings.fail(access, batch, str(error))
    run.announce("batch.failed", account=access.name, batch=batch.id, contacts=failed, reason=str(error))
    return Ending(
        "Failed",
        f"{error}; {counted(failed, 'contact')} failed. To send them again: bouncer-flows requeue",
        is_failure=True,
    )


async def lose(access: Access, run: Run, batch: BatchWork, error: BouncerFlowsError) -> Ending:
    """Closes a batch that Bouncer lost; its contacts are sent again in other batches."""
    returned = await endings.lose(access, batch, str(error), stuck=isinstance(error, BatchStuck))
    run.announce("batch.lost", account=access.name, batch=batch.id, contacts=returned, reason=str(error))
    return Ending("Lost", f"{error}; {counted(returned, 'contact is', 'contacts are')} requeued", is_failure=True)


def _back(contacts: int) -> str:
    return f"{counted(contacts, 'contact is', 'contacts are')} back in the queue"
