"""Polling a batch until Bouncer has verified it, with few requests."""

import asyncio

from bouncer.api.answers import BatchProgress
from bouncer.batches import ownership, transitions
from bouncer.batches.state import BatchWork
from bouncer.errors import BatchLost, BatchNotCompleted, FinishRefused
from bouncer.steps.callbacks import Bell
from bouncer.steps.pacing import Pace, seconds_an_address
from bouncer.steps.ports import Access, Run
from bouncer.steps.retries import AWAY, until_known

__all__ = ["poll"]


async def poll(access: Access, run: Run, batch: BatchWork, bouncer_id: str) -> None:
    """Waits until Bouncer has completed a batch, and writes that down.

    A callback makes the next poll come at once. A batch without any progress before the deadline is finished early.
    Safe to run twice: it only asks and notes.

    Args:
        access: The account and the database.
        run: The run that does it.
        batch: The batch, uploaded.
        bouncer_id: Bouncer's id of it.

    Raises:
        BatchLost: Bouncer does not know the batch, or makes nothing of it even after it was finished.
    """
    log = run.log
    account = access.account
    watch = _Watch(batch, await access.read(seconds_an_address, batch.account))
    bar = await run.progress_bar(batch.id, batch.quantity, watch.percent, watch.elapsed)
    bell = Bell(access, batch)
    if watch.is_new:
        await bell.sleep(watch.next_wait(account.poll_seconds_min, account.poll_seconds_max))
    while True:
        try:
            progress: BatchProgress = await until_known(pause_seconds=account.poll_seconds_min)(
                _ask, access, bouncer_id
            )
        except AWAY as error:
            log.warning("%s; a status check that fails says nothing about the batch", error)
        else:
            if progress.is_completed:
                await access.write(
                    transitions.record_verified, batch, progress.credits, progress.processed, progress.waited
                )
                await bar.end(watch.elapsed)
                log.info("batch %d is verified after %.0f s", batch.id, watch.elapsed)
                return
            if progress.is_running and await access.write(transitions.record_running, batch, progress.waited):
                log.info("Bouncer has begun with batch %d", batch.id)
            if watch.note(progress.processed or 0):
                await access.write(transitions.record_progress, batch, watch.processed)
                await bar.move(watch.percent, watch.elapsed)
            # Only after an answer: while Bouncer is away, nobody knows what has become of the batch.
            if watch.idle > account.batch_deadline_seconds:
                await _finish_early(access, run, batch, bouncer_id, watch)
        await bell.sleep(watch.next_wait(account.poll_seconds_min, account.poll_seconds_max))


async def _ask(access: Access, bouncer_id: str) -> BatchProgress:
    try:
        return await access.client.batch_progress(bouncer_id)
    except BatchNotCompleted as error:
        raise BatchLost(str(error)) from None


async def _finish_early(access: Access, run: Run, batch: BatchWork, bouncer_id: str, watch: "_Watch") -> None:
    if watch.finishing:
        raise BatchLost(f"Bouncer made no progress with batch {batch.id}, even after it was asked to finish it")
    run.log.warning(
        "batch %d made no progress for %.0f s; it is finished early and its rest requeued", batch.id, watch.idle
    )
    try:
        await access.client.finish(bouncer_id)
    except AWAY as error:
        run.log.warning("%s; the batch is finished at the next poll", error)
        return
    except FinishRefused as error:
        run.log.warning("%s; it is asked again at the next poll", error)
        return
    await access.write(ownership.record_finish_requested, batch)
    watch.begin_finishing()


class _Watch:
    # How far a batch has come and since when, by the clock of the event loop.

    def __init__(self, batch: BatchWork, pace: float | None) -> None:
        now = asyncio.get_running_loop().time()
        self.quantity = batch.quantity
        self.processed = min(batch.processed, batch.quantity)
        self.finishing = batch.finishing
        self.is_new = batch.bouncer_id is None
        self._began = now - batch.in_flight_seconds
        self._progressed = now - batch.idle_seconds
        self._pace = Pace(
            batch.quantity,
            None if pace is None else pace * batch.quantity,
            processed=self.processed,
            at=batch.in_flight_seconds - batch.idle_seconds,
        )

    @property
    def percent(self) -> int:
        return 100 * self.processed // self.quantity

    @property
    def elapsed(self) -> float:
        return asyncio.get_running_loop().time() - self._began

    @property
    def idle(self) -> float:
        return asyncio.get_running_loop().time() - self._progressed

    def note(self, processed: int) -> bool:
        self._pace.note(self.elapsed, processed)
        if processed <= self.processed:
            return False
        self.processed = min(processed, self.quantity)
        self._progressed = asyncio.get_running_loop().time()
        return True

    def begin_finishing(self) -> None:
        self.finishing = True
        self._progressed = asyncio.get_running_loop().time()

    def next_wait(self, shortest: float, longest: float) -> float:
        return self._pace.seconds_to_next_poll(self.elapsed, shortest=shortest, longest=longest)
