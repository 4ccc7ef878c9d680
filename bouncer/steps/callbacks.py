"""Effect of a callback from Bouncer: the next poll comes at once, and a lost upload is found again."""

import asyncio
from datetime import datetime

from bouncer.batches import callbacks, transitions
from bouncer.batches.admission import is_cancelled
from bouncer.batches.state import BatchWork
from bouncer.errors import BatchLost, BatchNotCompleted, DownloadTruncated
from bouncer.steps.ports import Access, Run
from bouncer.steps.retries import through_outages, until_known
from bouncer.stopping import sleep_unless_stopping
from bouncer.verdicts import matching

__all__ = ["Bell", "callback_of", "find_again"]

_LOOK_SECONDS = 1.0
_CANCELLATION_SECONDS = 10.0


async def callback_of(access: Access, batch: BatchWork) -> str | None:
    """The address that Bouncer is to call when the batch is complete, or None where callbacks are off."""
    base = access.account.callback_url
    if base is None:
        return None
    return f"{base.rstrip('/')}/{await callbacks.ensure_token(access, batch)}"


class Bell:
    """Ends a wait as soon as Bouncer calls for a batch, or its request is cancelled, whichever process hears of it.

    Calls make no more polls than there are without them: whoever has a token could use up the requests of the account.

    Args:
        access: The account and the database.
        batch: The batch.
    """

    def __init__(self, access: Access, batch: BatchWork) -> None:
        self._access = access
        self._batch = batch
        self._heard: datetime | None = None
        self._not_before = 0.0
        self.is_cancelled = False

    async def look(self) -> bool:
        """Looks whether the request was cancelled, and says whether that is news."""
        if self.is_cancelled or not await is_cancelled(self._access, self._batch.request_id):
            return False
        self.is_cancelled = True
        return True

    async def sleep(self, seconds: float) -> bool:
        """Sleeps, at most until the next callback, or until a cancellation of the request.

        Returns:
            Whether one of them came.

        Raises:
            Stopped: The process was asked to stop.
        """
        calls = self._access.account.callback_url is not None
        end = asyncio.get_running_loop().time() + seconds
        while (rest := end - asyncio.get_running_loop().time()) > 0:
            await sleep_unless_stopping(min(rest, _LOOK_SECONDS if calls else _CANCELLATION_SECONDS))
            if await self.look():
                return True
            if not calls:
                continue
            called = await callbacks.present(self._access, self._batch.id)
            now = asyncio.get_running_loop().time()
            if called is not None and called != self._heard and now >= self._not_before:
                self._heard = called
                self._not_before = now + self._access.account.poll_seconds_min
                return True
        return False


async def find_again(access: Access, run: Run, batch: BatchWork, *, counted: bool) -> str | None:
    """Finds the batch whose upload's answer was lost by its callback, and writes Bouncer's id down.

    Waits for the callback for as long as Bouncer may need, or as the account allows, from the loss of the answer. What
    the callback names counts only if Bouncer knows it under this account's key, with as many addresses as were sent,
    and with results on just these. Safe to run twice.

    Args:
        access: The account and the database.
        run: The run that does it.
        batch: The batch, at step UPLOAD or DECIDE.
        counted: Whether the upload was counted as perhaps paid twice already; it is taken back then.

    Returns:
        Bouncer's id, or None where no callback came, or none that Bouncer confirms.
    """
    account = access.account
    longest = 0 if account.callback_url is None else account.callback_wait_seconds
    told = False
    while True:
        call = await callbacks.look_for(access, batch, max_batches=account.max_concurrent_batches, longest_wait=longest)
        if call.at is not None:
            for bouncer_id in call.ids:
                if await _confirms(access, batch, bouncer_id, call.addresses):
                    await _adopt(access, run, batch, bouncer_id, counted=counted)
                    return bouncer_id
            run.log.warning("a callback for batch %d names no batch that Bouncer confirms", batch.id)
            if not await callbacks.forget(access, batch, call):
                await sleep_unless_stopping(_LOOK_SECONDS)
                continue
        if call.wait_seconds <= 0:
            return None
        if not told:
            told = True
            run.log.warning(
                "the answer to the upload of batch %d was lost; Bouncer's callback is waited for, for %.0f s at most",
                batch.id,
                call.wait_seconds,
            )
        await sleep_unless_stopping(min(call.wait_seconds, _LOOK_SECONDS))


async def _confirms(access: Access, batch: BatchWork, bouncer_id: str, addresses: int) -> bool:
    if await callbacks.is_of_another_batch(access, batch, bouncer_id):
        return False
    pause = access.account.poll_seconds_min
    persistent = through_outages(pause_seconds=pause, limit_seconds=access.account.batch_deadline_seconds)
    try:
        confirmed: bool = await persistent(
            until_known(pause_seconds=pause), _has_its_addresses, access, batch, bouncer_id, addresses
        )
    except (BatchLost, BatchNotCompleted, DownloadTruncated):
        return False
    return confirmed


async def _has_its_addresses(access: Access, batch: BatchWork, bouncer_id: str, addresses: int) -> bool:
    progress = await access.client.batch_progress(bouncer_id)
    if progress.quantity != addresses:
        return False
    if not progress.is_completed:
        # Bouncer calls when it is; its status may lag for a moment.
        raise BatchNotCompleted(f"a callback for batch {batch.id} names a batch that is not completed")
    verdicts = await access.client.download(bouncer_id, addresses)
    awaited = await matching.await_verdicts(access, batch.id)
    own, others = await access.compute(matching.count_own, verdicts, awaited)
    # Of contacts that were deleted or erased since the upload, nothing is known any more.
    gone = addresses - int(awaited.contacts["address_key"].nunique())
    return own > 0 and others <= gone


async def _adopt(access: Access, run: Run, batch: BatchWork, bouncer_id: str, *, counted: bool) -> None:
    await transitions.record_upload(access, batch, bouncer_id, 0)
    if counted:
        await callbacks.record_found(access, batch)
    run.announce("upload.found", account=access.name, batch=batch.id, contacts=batch.quantity)
    run.log.info(
        "the upload of batch %d, whose answer was lost, was found by its callback; nothing is sent twice", batch.id
    )
