"""Verifying a handful of addresses in real time: one request each, without a slot and without waiting for a batch."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from bouncer.api.answers import Verdict
from bouncer.batches import admission, realtime, transitions
from bouncer.batches.admission import Admission
from bouncer.batches.state import BatchState, BatchWork
from bouncer.credits import caps
from bouncer.errors import (
    AddressesRefused,
    BouncerFlowsError,
    Paused,
    RequestCancelled,
    Stopped,
    UploadHeld,
    UploadOutcomeUnknown,
)
from bouncer.plurals import counted
from bouncer.steps.older_database import mark_upload, pause_if_older
from bouncer.steps.ports import Access, Run
from bouncer.steps.retries import through_outages
from bouncer.stopping import is_stopping

__all__ = ["verify_now"]

AT_ONCE = 5
"""Addresses asked for at the same time: as many a kill can leave paid for and without a verdict."""

MOST_LOST_ROUNDS = 5
"""After so many rounds in a row with lost answers and without a verdict a person should look: each address may have
been paid for again."""


async def verify_now(access: Access, run: Run, batch: BatchWork) -> int:
    """Asks for each address of a small batch in real time, and stores the verdicts as they come.

    Safe to run twice: an address with a verdict is not asked for again, and one whose answer was lost goes by
    AMBIGUOUS_UPLOAD and is counted.

    Args:
        access: The account and the database.
        run: The run that does it.
        batch: The batch, which says that it is one for real time.

    Returns:
        How many contacts got a verdict.

    Raises:
        Paused: Nothing may be sent; the rest of the batch waits.
        Stopped: The process was asked to stop; the rest of the batch waits.
        RequestCancelled: The batch's request was cancelled; nothing more of it is sent.
        OutOfCredits: The account cannot pay for the rest.
        KeyRefused: The key is wrong.
        UploadHeld: Answers were lost, and a person is to decide.
        UploadOutcomeUnknown: So many answers were lost that asking again is no use.
        BouncerUnavailable: Bouncer was away for longer than the deadline.
    """
    if batch.state is BatchState.HELD:
        raise _held(batch, "some")
    if batch.unanswered:
        hold = await _holds(access, batch, batch.unanswered)
        await transitions.record_lost_answers(access, batch, hold=hold)
        _tell_lost(access, run, batch, batch.unanswered, hold=hold)
    persistent = through_outages(
        pause_seconds=access.account.poll_seconds_min, limit_seconds=access.account.batch_deadline_seconds
    )
    progress = _Progress()
    while True:
        if not await persistent(_round, access, run, batch, progress):
            if await realtime.complete(access, batch):
                run.log.info("batch %d: %s settled in real time", batch.id, counted(progress.settled, "contact"))
                return progress.settled
            continue
        if progress.lost_rounds >= MOST_LOST_ROUNDS:
            raise UploadOutcomeUnknown("answers in real time were lost again and again; each may have been paid")


@dataclass
class _Progress:
    # Contacts that got a verdict, how often the answer on each address was lost, and rounds in a row with lost answers
    # and without a verdict.
    settled: int = 0
    lost: Counter[str] = field(default_factory=Counter, repr=False)
    lost_rounds: int = 0


async def _round(access: Access, run: Run, batch: BatchWork, progress: _Progress) -> bool:
    if is_stopping():
        raise Stopped("stopped on request; the batch goes on with the next run")
    # Anew for each try: one that ended with a 429 has stored what was answered beside it, and that is paid for.
    erased = await admission.erased_so_far(access, batch.id)
    addresses = await realtime.next_addresses(access, batch, AT_ONCE, progress.lost)
    if not addresses:
        return False
    await pause_if_older(access, run)
    match await realtime.begin(access, batch, len(addresses), erased):
        case Admission.PAUSED:
            raise Paused(f"account {access.name} is paused; batch {batch.id} waits")
        case Admission.CANCELLED:
            raise RequestCancelled(
                f"request {batch.request_id} was cancelled; the rest of batch {batch.id} is not sent"
            )
        case Admission.ERASED:
            # The others are read again.
            return True
    answers = await _ask_all(access, run, addresses)
    verdicts = [answer for answer in answers if isinstance(answer, Verdict)]
    refused = {
        address: str(answer)
        for address, answer in zip(addresses, answers, strict=True)
        if isinstance(answer, AddressesRefused)
    }
    lost = [
        address for address, answer in zip(addresses, answers, strict=True) if isinstance(answer, UploadOutcomeUnknown)
    ]
    hold = bool(lost) and await _holds(access, batch, len(lost))
    stored = await realtime.store(
        access,
        batch,
        verdicts,
        refused,
        lost=len(lost),
        hold=hold,
        chances=access.account.chances,
        fresh_for=access.account.fresh_for,
    )
    progress.settled += stored
    progress.lost.update(lost)
    progress.lost_rounds = progress.lost_rounds + 1 if lost and not stored else 0
    if lost:
        _tell_lost(access, run, batch, len(lost), hold=hold)
    # Every other failure is certain: nothing was paid for. It is raised once the verdicts beside it are safe.
    for answer in answers:
        if isinstance(answer, BouncerFlowsError) and not isinstance(answer, AddressesRefused | UploadOutcomeUnknown):
            raise answer
    return True


async def _ask_all(access: Access, run: Run, addresses: list[str]) -> list[Verdict | BouncerFlowsError]:
    try:
        await mark_upload(access, run)
    except BouncerFlowsError as error:
        # Nothing was sent.
        return [error for _ in addresses]
    return await asyncio.gather(*(_ask(access, address) for address in addresses))


async def _ask(access: Access, address: str) -> Verdict | BouncerFlowsError:
    try:
        return await access.client.verify(address)
    except BouncerFlowsError as error:
        return error


async def _holds(access: Access, batch: BatchWork, lost: int) -> bool:
    return access.account.ambiguous_upload == "hold" or await caps.repeat_would_pass(access, batch.request_id, lost)


def _tell_lost(access: Access, run: Run, batch: BatchWork, lost: int, *, hold: bool) -> None:
    run.announce("upload.lost", account=access.name, batch=batch.id, contacts=lost, held=hold)
    if hold:
        raise _held(batch, counted(lost, "address", "addresses"))
    run.log.warning(
        "the answers on %s of batch %d were lost; they are asked for again and may be paid twice",
        counted(lost, "address", "addresses"),
        batch.id,
    )


def _held(batch: BatchWork, lost: str) -> UploadHeld:
    return UploadHeld(
        f"the answers on {lost} of batch {batch.id} were lost; it is held. To ask again, which may be"
        " paid twice: bouncer-flows requeue --held"
    )
