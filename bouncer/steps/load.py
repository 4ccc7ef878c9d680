"""Loading a verified batch: download its verdicts, and store them in one transaction."""

import asyncio
from weakref import WeakKeyDictionary

from bouncer.batches import load as loading
from bouncer.batches import ownership
from bouncer.batches.load import LoadReport
from bouncer.batches.state import BatchWork
from bouncer.errors import BatchLost, DatabaseUnavailable, DownloadTruncated
from bouncer.plurals import counted
from bouncer.steps.ports import Access, Run
from bouncer.steps.retries import through_outages, until_known
from bouncer.stopping import sleep_unless_stopping
from bouncer.verdicts import matching
from bouncer.verdicts.matching import Awaited

__all__ = ["load"]

LANES = 2
"""Batches of an account that one process downloads and loads at a time: each takes some 20 MB, and more are no
quicker."""

_lanes: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = WeakKeyDictionary()


async def load(access: Access, run: Run, batch: BatchWork, batch_id: str) -> LoadReport:
    """Downloads the verdicts of a batch and stores them.

    Safe to run twice: all is stored in one transaction that takes the batch to its end, and a batch at its end is
    not loaded again.

    Args:
        access: The account and the database.
        run: The run that does it.
        batch: The batch, verified.
        batch_id: Bouncer's id of it.

    Returns:
        How many contacts were settled, missing and unmatched.

    Raises:
        BatchLost: Bouncer has no results for the batch, or none any more, or none that can be read.
        BouncerUnavailable: Bouncer was away for longer than the deadline; the batch stays where it is.
    """
    log = run.log
    pause = access.account.poll_seconds_min
    persistent = through_outages(pause_seconds=pause, limit_seconds=access.account.batch_deadline_seconds)
    while True:
        try:
            report: LoadReport = await persistent(until_known(pause_seconds=pause), _load_once, access, batch, batch_id)
        except DownloadTruncated as error:
            await _bear_with(access, run, batch, error)
            await sleep_unless_stopping(pause)
        else:
            break
    if report.missing or report.unmatched:
        log.warning(
            "batch %d: %s without a verdict, requeued, of whose addresses %d may be paid twice;"
            " %s for addresses that were not sent",
            batch.id,
            counted(report.missing, "contact"),
            report.maybe_paid,
            counted(report.unmatched, "verdict"),
        )
        run.announce(
            "batch.odd", account=access.name, batch=batch.id, missing=report.missing, unmatched=report.unmatched
        )
    log.info("batch %d: %s settled", batch.id, counted(report.settled, "contact"))
    return report


async def _load_once(access: Access, batch: BatchWork, batch_id: str) -> LoadReport:
    # The lane is held for one download, not while a batch waits for its next, after a 429 or a 503: others go on
    # meanwhile. An account's breaker keeps its own batches waiting and no others.
    lane = _lane(access.name)

    async def beside_the_lane(seconds: float) -> None:
        lane.release()
        try:
            await sleep_unless_stopping(seconds)
        finally:
            await lane.acquire()

    async with lane:
        reading = asyncio.create_task(_await(access, batch))
        # Not gathered: a download that is left behind would take the lane back when nobody gives it free any more.
        verdicts = await access.client.download(batch_id, batch.quantity, sleep=beside_the_lane)
        prepared = await access.compute(matching.prepare, verdicts, await reading)
        return await loading.load(access, batch, prepared, access.account.chances, access.account.fresh_for)


async def _bear_with(access: Access, run: Run, batch: BatchWork, error: DownloadTruncated) -> None:
    # Bouncer answers, so it is no outage. What cannot be read for a whole deadline never will be.
    seconds = await ownership.record_unreadable(access, batch)
    if seconds > access.account.batch_deadline_seconds:
        raise BatchLost(f"{error}; so it has been for {seconds:.0f} s") from None
    run.log.warning("batch %d: %s; it is downloaded again", batch.id, error)


async def _await(access: Access, batch: BatchWork) -> Awaited | None:
    # Read while the verdicts come, so that they are stored the sooner; where that fails, it is read with them.
    try:
        return await matching.await_verdicts(access, batch.id)
    except DatabaseUnavailable:
        return None


def _lane(account: str) -> asyncio.Semaphore:
    of_accounts = _lanes.setdefault(asyncio.get_running_loop(), {})
    return of_accounts.setdefault(account, asyncio.Semaphore(LANES))
