"""Batches that are queued at Bouncer: behind somebody else's list, cancelled, killed, out of credits, in a hurry."""

import random
from collections.abc import Callable

from bouncer.storage.tables import Priority
from tests.chaos.invariants import Expected
from tests.chaos.scenarios.registry import Play, scenario
from tests.chaos.site import Account, Site, Unexpected

__all__: list[str] = []

_DEADLINE_SECONDS = 4.0
_END_SECONDS = 300.0
_PAID_ONCE = Expected(paid_once=True)


def _behind(dies: Callable[[Site, random.Random], None]) -> Play:
    # Somebody else's list is ahead for three times the deadline, and nothing of ours begins before that.
    def play(site: Site, draw: random.Random) -> Expected:
        site.account = Account(deadline_seconds=_DEADLINE_SECONDS)
        site.sandbox.put_ahead(3 * _DEADLINE_SECONDS)
        site.queue(draw, 6)
        dies(site, draw)
        return _PAID_ONCE

    return play


def _until_queued(site: Site) -> None:
    site.until(lambda: len(site.sandbox.batches()) == site.account.slots, "full slots")
    site.until_uploads_rest()


@scenario("a queue ahead for three times the deadline", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    return _behind(lambda site, _: site.ends_with(site.ingest(), 0))(site, draw)


@scenario("a queue ahead for three times the deadline, and two ingests", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    return _behind(_two_ingests)(site, draw)


@scenario("kill -9 while queued at Bouncer", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    return _behind(_killed)(site, draw)


@scenario("kill -9 while queued at Bouncer, again and again", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    return _behind(_killed_again_and_again)(site, draw)


@scenario("everything dies while queued at Bouncer")
def _(site: Site, draw: random.Random) -> Expected:
    return _behind(_everything)(site, draw)


def _two_ingests(site: Site, draw: random.Random) -> None:
    runs = [site.ingest(), site.ingest()]
    _until_queued(site)
    runs.pop(draw.randrange(2)).kill()
    site.ends_with(runs[0], 0)


def _killed(site: Site, draw: random.Random) -> None:
    run = site.ingest()
    _until_queued(site)
    site.until_seen("status", draw.randint(1, 4))
    run.kill()


def _killed_again_and_again(site: Site, draw: random.Random) -> None:
    for _ in range(3):
        run, before = site.ingest(), site.seen("status")
        more = before + draw.randint(1, 3)
        site.until(lambda run=run, more=more: site.seen("status") >= more or run.code is not None, "looks")
        if site.seen("create") <= site.account.slots:
            site.until_uploads_rest()
        run.kill()


def _everything(site: Site, draw: random.Random) -> None:
    run = site.ingest()
    _until_queued(site)
    site.until_seen("status", draw.randint(1, 4))
    site.kill_all(run)
    site.mariadb.start()
    site.prefect.start()


@scenario("cancelled while queued at Bouncer", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    return _cancelled(site, draw)


@scenario("cancelled while queued at Bouncer, finish refused at first", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.sandbox.fault("finish_refused", code=draw.choice([200, 400]), times=draw.randint(1, 2))
    return _cancelled(site, draw)


@scenario("cancelled while queued at Bouncer, and kill -9", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    return _cancelled(site, draw, also_killed=True)


def _cancelled(site: Site, draw: random.Random, *, also_killed: bool = False) -> Expected:
    # So long that the most of each batch is not verified when it is finished.
    site.sandbox.post("/_sandbox/settings", {"fixed_seconds": 12})
    site.sandbox.put_ahead(3600)
    request = site.queue(draw, site.account.slots)
    run = site.ingest()
    _until_queued(site)
    cancel = site.cancel(request)
    marked = f"SELECT COUNT(*) FROM Requests WHERE request_id = {request} AND bouncer_cancelled_ts IS NOT NULL"
    site.until(lambda: site.scalar(marked) == 1, "the mark of the cancellation")
    if also_killed:
        cancel.kill()
        run.kill()
        run, looked = site.ingest(), site.seen("status")
        site.until_seen("status", looked + site.account.slots)
    site.sandbox.clear_ahead()
    cancel.wait(_END_SECONDS)
    run.wait(_END_SECONDS)
    ledger = site.sandbox.ledger()
    credits_ = ledger["credits_by_key"][site.key]
    # The run and the cancellation may both see that a batch runs now, and both ask.
    if ledger["finished"] < site.account.slots:
        raise Unexpected(f"{ledger['finished']} of {site.account.slots} batches were finished")
    if credits_["held"] or 2 * credits_["charged"] > site.imported:
        raise Unexpected(f"of {site.imported} credits {credits_['held']} are held, {credits_['charged']} charged")
    return _PAID_ONCE


@scenario("topped up while queued at Bouncer", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.sandbox.put_ahead(10)
    site.queue(draw)
    site.sandbox.post("/_sandbox/credits", {"key": site.key, "credits": draw.randint(40, 119)})
    run = site.ingest()
    site.until(lambda: site.sandbox.ledger()["answers_by_status"].get("402", 0) > 0, "an upload that is refused")
    site.sandbox.post("/_sandbox/credits", {"key": site.key, "credits": 10_000})
    run.wait(_END_SECONDS)
    return _PAID_ONCE


@scenario("results removed while others are queued at Bouncer", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.queue(draw)
    site.sandbox.fault("removed", after=draw.randrange(4), times=draw.randint(1, 2))
    site.ends_with(site.ingest(), 0)
    return Expected()


@scenario("an urgent list behind twenty batches", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    # By the pace of the first batches, two are to be queued behind the one that runs.
    seconds = 3.0
    site.account = Account(slots=15, queue_ahead_minutes=2 * seconds / 60)
    site.sandbox.post("/_sandbox/settings", {"fixed_seconds": seconds})
    site.queue(draw, 20)
    run = site.ingest()
    completed = draw.randint(2, 4)
    site.until(lambda: sum(b["status"] == "completed" for b in site.sandbox.batches()) >= completed, "a pace")
    queued = {batch["id"] for batch in site.sandbox.batches() if batch["status"] == "queued"}
    if site.scalar("SELECT COUNT(*) FROM Bouncer_Queue WHERE status <> 'completed'") < 10 * site.account.batch_size:
        raise Unexpected("the twenty batches are nearly through already")
    urgent = site.queue(draw, 1, Priority.CRITICAL)
    site.ends_with(run, 0)
    order = [batch["id"] for batch in sorted(site.sandbox.batches(), key=lambda batch: batch["started_at"])]
    its = site.scalar(f"SELECT batch_id FROM Bouncer_Batches WHERE request_id = {urgent}")
    (place,) = (place for place, id_ in enumerate(order) if id_ == its)
    # One more may have been sent between the import and the claim.
    before = [id_ for id_ in order[:place] if id_ in queued or order.index(id_) > max(map(order.index, queued))]
    if len(queued) > 3 or len(before) > len(queued) + 1:
        raise Unexpected(f"{len(queued)} batches were queued, and {len(before)} of them and of later ones went first")
    return _PAID_ONCE
