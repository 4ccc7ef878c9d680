"""The life of a batch: which step comes next, and how it ends where a step cannot be done."""

from bouncer.batches.state import BEFORE_VERDICTS, SETTLED, BatchWork
from bouncer.errors import (
    AddressesRefused,
    BatchLost,
    NothingToSend,
    OutOfCredits,
    RequestCancelled,
    UploadHeld,
    UploadOutcomeUnknown,
)
from bouncer.plurals import counted
from bouncer.steps.endings import Ending, dissolve, fail, lose, return_unpaid, split, withdraw
from bouncer.steps.ports import Access, Run, Steps

__all__ = ["live"]


async def live(access: Access, run: Run, steps: Steps, batch: BatchWork) -> Ending:  # noqa: PLR0911  # one an ending
    """Takes a batch from the state that it has reached to its end: slot, upload, poll, load.

    Args:
        access: The account and the database.
        run: The run.
        steps: How the run does each step.
        batch: The batch, owned by the run.

    Returns:
        How it ended.

    Raises:
        BouncerFlowsError: It stays as it is, for the next run: paused, stopped, taken over, or Bouncer is away.
    """
    try:
        return await _verify(steps, batch)
    except UploadHeld as error:
        return Ending("Held", str(error), is_failure=True)
    except RequestCancelled as error:
        return await withdraw(access, run, batch, error)
    except NothingToSend as error:
        return await dissolve(access, run, batch, error)
    except OutOfCredits as error:
        return await return_unpaid(access, run, batch, error)
    except AddressesRefused as error:
        return await split(access, run, batch, error)
    except UploadOutcomeUnknown as error:
        return await fail(access, run, batch, error)
    except BatchLost as error:
        return await lose(access, run, batch, error)


async def _verify(steps: Steps, batch: BatchWork) -> Ending:
    if batch.realtime and batch.state not in SETTLED:
        settled = await steps.verify_now(batch)
        return Ending("Completed", f"{counted(settled, 'contact')} settled in real time")
    bouncer_id = batch.bouncer_id
    await steps.give_back_stale_lease(batch)
    if batch.state in BEFORE_VERDICTS:
        async with steps.slot(batch) as slot:
            if bouncer_id is None:
                bouncer_id = await steps.upload(batch, slot)
            await steps.poll(batch, bouncer_id)
    elif batch.state in SETTLED:
        return Ending("NothingToDo", "Nothing to do: this batch is settled")
    report = await steps.load(batch, str(bouncer_id))
    return Ending("Completed", f"{counted(report.settled, 'contact')} settled, {report.missing:,} requeued")
