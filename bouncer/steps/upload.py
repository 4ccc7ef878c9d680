"""Uploading a batch: the call that costs money, made safe against answers that never come."""

from bouncer.api.answers import BatchCreated
from bouncer.batches import admission, ownership, transitions
from bouncer.batches.admission import Admission
from bouncer.batches.state import IN_DOUBT, BatchState, BatchWork
from bouncer.credits import caps
from bouncer.errors import (
    BouncerFlowsError,
    DatabaseUnavailable,
    NothingToSend,
    OrchestratorUnavailable,
    Paused,
    RequestCancelled,
    UploadHeld,
    UploadOutcomeUnknown,
)
from bouncer.plurals import counted
from bouncer.steps.callbacks import callback_of, find_again
from bouncer.steps.older_database import mark_upload, pause_if_older
from bouncer.steps.ports import Access, Run, Slot
from bouncer.steps.retries import through_outages, until_stored
from bouncer.stopping import sleep_unless_stopping

__all__ = ["upload"]

MOST_LOST_UPLOADS = 5
"""After so many uploads of one batch without an answer a person should look: each may have been paid."""

_AFTER_LOST_SECONDS = 2.0


class _CalledBack(BouncerFlowsError):
    """Bouncer has called for the batch, so it may have it already."""


class _Erased(BouncerFlowsError):
    """An address was erased since those that are sent were read."""


class _NoRoom(BouncerFlowsError):
    """As many batches are in flight as the account may have."""


async def upload(access: Access, run: Run, batch: BatchWork, slot: Slot) -> str:
    """Uploads a batch and writes down Bouncer's id.

    That the upload begins is committed before its first byte is sent, and Bouncer's id as soon as it is there. Safe
    to run twice: a batch that has an id is never uploaded, and one whose answer was lost is found again by its
    callback, or else goes by AMBIGUOUS_UPLOAD.

    Args:
        access: The account and the database.
        run: The run that does it.
        batch: The batch, not answered by Bouncer yet.
        slot: The slot that it holds, to be given back while there is no room.

    Returns:
        Bouncer's id of the batch.

    Raises:
        Paused: No uploads may begin; the batch waits.
        RequestCancelled: The batch's request was cancelled.
        NothingToSend: None of its addresses is left.
        OutOfCredits: The account cannot pay for the batch.
        KeyRefused: The key is wrong.
        AddressesRefused: Bouncer will never take the batch as it is.
        UploadHeld: The answer to an upload was lost, and a person is to decide.
        UploadOutcomeUnknown: So many answers were lost that sending the batch again is no use.
        BouncerUnavailable: Bouncer was away for longer than the deadline.
    """
    lost = batch.ambiguous_uploads
    if batch.state in IN_DOUBT:
        found = await _after_loss(access, run, batch)
        if found is not None:
            return found
        lost += 1
        await _count_lost(access, run, batch, lost)
    persistent = through_outages(
        pause_seconds=access.account.poll_seconds_min, limit_seconds=access.account.batch_deadline_seconds
    )
    while True:
        try:
            return await persistent(_upload_once, access, run, batch, slot)
        except _Erased:
            continue
        except _CalledBack:
            found = await find_again(access, run, batch, counted=True)
            if found is not None:
                return found
        except UploadOutcomeUnknown as error:
            run.log.warning("%s", error)
            found = await _after_loss(access, run, batch)
            if found is not None:
                return found
            lost += 1
            await _count_lost(access, run, batch, lost)
            await sleep_unless_stopping(_AFTER_LOST_SECONDS**lost)


async def _record(access: Access, batch: BatchWork, created: BatchCreated) -> None:
    await transitions.record_upload(access, batch, created.batch_id, created.duplicates)


async def _after_loss(access: Access, run: Run, batch: BatchWork) -> str | None:
    await ownership.record_lost_answer(access, batch)
    found = await find_again(access, run, batch, counted=batch.state is BatchState.HELD)
    if found is None and batch.state is BatchState.HELD:
        raise _held(batch)
    return found


async def _upload_once(access: Access, run: Run, batch: BatchWork, slot: Slot) -> str:
    erased = await admission.erased_so_far(access, batch.id)
    addresses = await admission.addresses_to_send(access, batch.id)
    if not addresses:
        raise NothingToSend(f"no address of batch {batch.id} can be sent any more")
    callback = await callback_of(access, batch)
    while True:
        # Looked at first without a lock, since to be admitted costs requests of the rate limit.
        while not await admission.has_room(
            access, batch, access.account.max_concurrent_batches, access.account.queue_ahead_seconds
        ):
            if await admission.held_fill_all_places(access, access.name, access.account.max_concurrent_batches):
                raise Paused(f"{admission.ALL_PLACES_HELD}; batch {batch.id} waits")
            await slot.step_aside()
            # Whoever had the batch before may be answered after all, and it would wait for its own place.
            answered = await ownership.id_at_bouncer(access, batch.id)
            if answered is not None:
                return answered
        try:
            created = await access.client.create_batch(
                addresses,
                sending=lambda: _begin(access, run, batch, len(addresses), erased),
                refused=lambda: transitions.record_refused_upload(access, batch),
                callback=callback,
            )
        except _NoRoom:
            await slot.step_aside()
        else:
            bouncer_id = created.batch_id
            # Nobody but this run knows that Bouncer has the batch, so the id is not let go of.
            persistent = until_stored(f"batch {batch.id} is batch {bouncer_id} at Bouncer")
            await persistent(_record, access, batch, created)
            return bouncer_id


async def _begin(access: Access, run: Run, batch: BatchWork, addresses: int, erased: int) -> None:
    await pause_if_older(access, run)
    try:
        await _admit(access, batch, addresses, erased)
        await mark_upload(access, run)
    except (DatabaseUnavailable, OrchestratorUnavailable):
        # It may have been written down that the upload begins; nothing was sent.
        await transitions.record_refused_upload(access, batch)
        raise


async def _admit(access: Access, batch: BatchWork, addresses: int, erased: int) -> None:
    account = access.account
    most, queue_seconds = account.max_concurrent_batches, account.queue_ahead_seconds
    match await admission.admit_upload(access, batch, most, addresses, queue_seconds, erased):
        case Admission.PAUSED:
            raise Paused(f"account {access.name} is paused; batch {batch.id} waits")
        case Admission.CANCELLED:
            raise RequestCancelled(f"request {batch.request_id} was cancelled; batch {batch.id} is not sent")
        case Admission.CALLED:
            raise _CalledBack(f"Bouncer has called for batch {batch.id}")
        case Admission.ERASED:
            raise _Erased(f"an address of batch {batch.id} was erased; the others are read again")
        case Admission.FULL:
            raise _NoRoom("as many batches are in flight as the account may have")
        case Admission.ADMITTED:
            return


async def _count_lost(access: Access, run: Run, batch: BatchWork, lost: int) -> None:
    # Asked before the loss is counted: what may have been paid is committed already.
    hold = access.account.ambiguous_upload == "hold" or await caps.repeat_would_pass(
        access, batch.request_id, batch.quantity
    )
    held = await transitions.record_lost_upload(access, batch, hold=hold)
    run.announce("upload.lost", account=access.name, batch=batch.id, contacts=batch.quantity, held=held)
    if held:
        raise _held(batch)
    if lost >= MOST_LOST_UPLOADS:
        raise UploadOutcomeUnknown(
            f"{counted(lost, 'upload was', 'uploads were')} never answered; each may have been paid"
        )
    run.log.warning(
        "the answer to an upload of batch %d was lost; it is sent again, so %s may be paid twice",
        batch.id,
        counted(batch.quantity, "address", "addresses"),
    )


def _held(batch: BatchWork) -> UploadHeld:
    return UploadHeld(
        f"the answer to the upload of batch {batch.id} was lost; it is held. To send it again, which may be paid"
        " twice: bouncer-flows requeue --held"
    )
