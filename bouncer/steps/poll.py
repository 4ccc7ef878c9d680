"""Polling a batch until Bouncer has verified it, with few requests."""

import asyncio

from bouncer.api.answers import BatchProgress
from bouncer.batches import ownership, transitions
from bouncer.batches.batches_in_flight import Places, queue_ahead
from bouncer.batches.state import BatchWork
from bouncer.concurrency import await_all
from bouncer.errors import BatchLost, BatchNotCompleted, BatchStuck, FinishRefused
from bouncer.steps.callbacks import Bell
from bouncer.steps.ports import Access, ProgressBar, Run
from bouncer.steps.retries import AWAY, until_known
from bouncer.steps.watch import Watch

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
        BatchLost: Bouncer does not know the batch.
        BatchStuck: Bouncer makes nothing of it even after it was asked to finish it.
    """
    log = run.log
    account = access.account
    ahead = await queue_ahead(access, batch.account, besides=batch.id)
    places = Places(account.max_concurrent_batches, account.queue_ahead_seconds, batch.quantity)
    watch = Watch(batch, ahead, asyncio.get_running_loop().time, makes_room=ahead.holds_back_unknown(places))
    bar = await run.progress_bar(batch.id, batch.quantity, watch.percent, watch.elapsed)
    bell = Bell(access, batch)
    await bell.look()
    if watch.is_new:
        await _sleep_until_next_look(access, batch, watch, bell)
    while True:
        has_begun = False
        try:
            progress: BatchProgress = await until_known(pause_seconds=account.poll_seconds_min)(
                _ask, access, bouncer_id
            )
        except AWAY as error:
            log.warning("%s; a status check that fails says nothing about the batch", error)
        else:
            if progress.is_completed:
                await transitions.record_verified(
                    access, batch, progress.credits, progress.processed, progress.waited, progress.took
                )
                await bar.end(watch.elapsed)
                log.info("batch %d is verified after %.0f s", batch.id, watch.elapsed)
                return
            has_begun = await _note(access, run, batch, progress, watch, bar)
            # Only after an answer: while Bouncer is away, nobody knows what has become of the batch. And only while it
            # runs: one that is queued there is paid for and will run, however long that takes.
            if watch.is_running and (
                watch.idle > account.batch_deadline_seconds or (bell.is_cancelled and not watch.finishing)
            ):
                await _finish_early(access, run, batch, bouncer_id, watch)
        watch.look()
        rest = _sleep_until_next_look(access, batch, watch, bell)
        if has_begun and watch.makes_room:
            # On a worker that claims and starts batches, for which this one does not wait.
            await await_all(rest, run.make_use_of_room())
        else:
            await rest


async def _sleep_until_next_look(access: Access, batch: BatchWork, watch: Watch, bell: Bell) -> None:
    shortest, longest = access.account.poll_seconds_min, access.account.poll_seconds_max
    while (rest := watch.rest(shortest, longest, soon=bell.is_cancelled)) > 0:
        if await bell.sleep(rest if watch.is_running else min(rest, longest)) or watch.is_running:
            return
        # What is ahead of it may be through sooner than it seemed; to know that costs no request.
        watch.expect(await queue_ahead(access, batch.account, besides=batch.id))


async def _ask(access: Access, bouncer_id: str) -> BatchProgress:
    try:
        return await access.client.batch_progress(bouncer_id)
    except BatchNotCompleted as error:
        raise BatchLost(str(error)) from None


async def _note(
    access: Access, run: Run, batch: BatchWork, progress: BatchProgress, watch: Watch, bar: ProgressBar
) -> bool:
    # Whether this look was the first to see that Bouncer has begun.
    has_begun = False
    if progress.is_running:
        if has_begun := await transitions.record_running(access, batch, progress.waited):
            run.log.info("Bouncer has begun with batch %d", batch.id)
        watch.note_running(progress.waited)
    if watch.note(progress.processed or 0):
        await transitions.record_progress(access, batch, watch.processed)
        await bar.move(watch.percent, watch.elapsed)
    return has_begun


async def _finish_early(access: Access, run: Run, batch: BatchWork, bouncer_id: str, watch: Watch) -> None:
    if watch.finishing:
        raise BatchStuck(f"Bouncer made no progress with batch {batch.id}, even after it was asked to finish it")
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
