"""Polling a batch until Bouncer has verified it, with few requests."""

import asyncio
from datetime import timedelta

from bouncer.api.answers import BatchProgress
from bouncer.batches import ownership, transitions
from bouncer.batches.capacity import QueueAhead, queue_ahead
from bouncer.batches.state import BatchState, BatchWork
from bouncer.errors import BatchLost, BatchNotCompleted, FinishRefused
from bouncer.steps.callbacks import Bell
from bouncer.steps.pacing import Pace, seconds_to_next_look_at_queue
from bouncer.steps.ports import Access, Run
from bouncer.steps.retries import AWAY, until_known

__all__ = ["poll"]


async def poll(access: Access, run: Run, batch: BatchWork, bouncer_id: str) -> None:
    """Waits until Bouncer has completed a batch, and writes that down.

    A callback makes the next poll come at once. A batch that runs without any progress before the deadline is finished
    early, and so is one whose request was cancelled; one that is queued at Bouncer is waited for.
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
    watch = _Watch(batch, await queue_ahead(access, batch.account, besides=batch.id))
    bar = await run.progress_bar(batch.id, batch.quantity, watch.percent, watch.elapsed)
    bell = Bell(access, batch)
    await bell.look()
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
                await transitions.record_verified(access, batch, progress.credits, progress.processed, progress.waited)
                await bar.end(watch.elapsed)
                log.info("batch %d is verified after %.0f s", batch.id, watch.elapsed)
                return
            if progress.is_running:
                if await transitions.record_running(access, batch, progress.waited):
                    log.info("Bouncer has begun with batch %d", batch.id)
                watch.note_running(progress.waited)
            if watch.note(progress.processed or 0):
                await transitions.record_progress(access, batch, watch.processed)
                await bar.move(watch.percent, watch.elapsed)
            # Only after an answer: while Bouncer is away, nobody knows what has become of the batch. And only while it
            # runs: one that is queued there is paid for and will run, however long that takes.
            if watch.is_running and (
                watch.idle > account.batch_deadline_seconds or (bell.is_cancelled and not watch.finishing)
            ):
                await _finish_early(access, run, batch, bouncer_id, watch)
        wait = watch.next_wait(account.poll_seconds_min, account.poll_seconds_max, soon=bell.is_cancelled)
        await bell.sleep(wait)


async def _ask(access: Access, bouncer_id: str) -> BatchProgress:
    try:
        return await access.client.batch_progress(bouncer_id)
    except BatchNotCompleted as error:
        raise BatchLost(str(error)) from None


async def _finish_early(access: Access, run: Run, batch: BatchWork, bouncer_id: str, watch: "_Watch") -> None:
    if watch.finishing:
        raise BatchLost(f"Bouncer made no progress with batch {batch.id}, even after it was asked to finish it")
    if watch.idle > access.account.batch_deadline_seconds:
        run.log.warning(
            "batch %d made no progress for %.0f s; it is finished early and its rest requeued", batch.id, watch.idle
        )
    elif await ownership.finish_is_requested(access, batch):
        # By the cancellation itself.
        watch.begin_finishing()
        return
    try:
        await access.client.finish(bouncer_id)
    except AWAY as error:
        run.log.warning("%s; the batch is finished at the next poll", error)
        return
    except FinishRefused as error:
        # A refusal changes nothing: it is asked again at the next poll.
        await ownership.record_finish_refused(access, batch)
        run.log.warning("%s; the batch is finished at a later poll", error)
        return
    await ownership.record_finish_requested(access, batch)
    watch.begin_finishing()


class _Watch:
    # How far a batch has come and since when, by the clock of the event loop.

    def __init__(self, batch: BatchWork, ahead: QueueAhead) -> None:
        now = _now()
        self.quantity = batch.quantity
        self.processed = min(batch.processed, batch.quantity)
        self.finishing = batch.finishing
        self.is_running = batch.state is BatchState.RUNNING_AT_BOUNCER
        self.is_new = batch.bouncer_id is None
        self._began = now - batch.in_flight_seconds
        self._progressed = now - batch.idle_seconds
        self._run_seconds = ahead.seconds_an_address * batch.quantity
        self._turn = self.elapsed + ahead.seconds
        self._pace = Pace(
            batch.quantity,
            self._run_seconds,
            processed=self.processed,
            at=batch.in_flight_seconds - batch.idle_seconds,
        )

    @property
    def percent(self) -> int:
        return 100 * self.processed // self.quantity

    @property
    def elapsed(self) -> float:
        return _now() - self._began

    @property
    def idle(self) -> float:
        return _now() - self._progressed

    def note_running(self, waited: timedelta | None) -> None:
        if self.is_running:
            return
        self.is_running = True
        self._progressed = _now()
        # By Bouncer's clock, if that makes sense by ours.
        since = self.elapsed if waited is None else min(max(0.0, waited.total_seconds()), self.elapsed)
        self._pace.begin(since)

    def note(self, processed: int) -> bool:
        self._pace.note(self.elapsed, processed)
        if processed <= self.processed:
            return False
        self.processed = min(processed, self.quantity)
        self._progressed = _now()
        return True

    def begin_finishing(self) -> None:
        self.finishing = True
        self._progressed = _now()

    def next_wait(self, shortest: float, longest: float, *, soon: bool = False) -> float:
        if self.finishing:
            # Bouncer ends it by itself: soon.
            return shortest
        if not self.is_running and soon:
            # It can be finished only once it runs, and the sooner the more credits come back.
            return max(longest, self._turn - self.elapsed)
        if not self.is_running:
            return seconds_to_next_look_at_queue(
                self.elapsed, self._turn, self._run_seconds, shortest=shortest, longest=longest
            )
        return self._pace.seconds_to_next_poll(self.elapsed, shortest=shortest, longest=longest)


def _now() -> float:
    return asyncio.get_running_loop().time()
