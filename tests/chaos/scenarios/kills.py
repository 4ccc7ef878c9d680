"""kill -9 of an ingest, at each step of a batch."""

import random

from tests.chaos.breakpoints import Place
from tests.chaos.invariants import Expected
from tests.chaos.scenarios.places import (
    AFTER_ANSWER,
    AFTER_LOST_ANSWER,
    BEFORE_UPLOAD,
    CLOSING,
    END_OF_LOAD,
    IN_ANOTHER_LOAD,
    IN_CLAIM,
    IN_LOAD,
    IN_SETTLING,
    NEW_BATCH,
    VERIFIED,
)
from tests.chaos.scenarios.registry import Play, scenario
from tests.chaos.site import Account, Site

__all__ = ["everywhere_at_once", "full_house", "unrecorded"]

_SLOTS = 3
_CREW = 4
"""As many batches as a run with three slots has under way at once."""


def _killed_at(place: Place) -> Play:
    def play(site: Site, draw: random.Random) -> Expected:
        batches = draw.randint(2, _CREW)
        site.queue(draw, batches)
        with site.stop_at(place, batch=draw.randint(1, batches)) as point:
            run = site.ingest()
            point.reached()
            site.until_sent()
            run.kill()
        return Expected()

    return play


scenario("kill -9 when a batch is verified", short=False)(_killed_at(VERIFIED))
scenario("kill -9 in a load, among the results")(_killed_at(IN_LOAD))
scenario("kill -9 in a load, among the contacts", short=False)(_killed_at(IN_SETTLING))
scenario("kill -9 in a load, before its commit")(_killed_at(END_OF_LOAD))


@scenario("kill -9 in a claim, when its batches are made", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    return _killed_in_claim(site, draw, NEW_BATCH)


@scenario("kill -9 in a claim, among its contacts")
def _(site: Site, draw: random.Random) -> Expected:
    return _killed_in_claim(site, draw, IN_CLAIM)


def _killed_in_claim(site: Site, draw: random.Random, place: Place) -> Expected:
    site.queue(draw)
    with site.stop_at(place) as point:
        run = site.ingest()
        point.reached()
        run.kill()
    return Expected()


@scenario("kill -9 before an upload", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.queue(draw, _CREW)
    with site.stop_at(BEFORE_UPLOAD, batch=draw.randint(1, _CREW)) as point:
        run = site.ingest()
        point.reached()
        site.until_uploads_rest()
        run.kill()
    return Expected()


@scenario("kill -9 between a request and its arrival", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    return _killed_unanswered(site, draw, "slow", seconds=5)


@scenario("kill -9 between a request and its answer", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    return _killed_unanswered(site, draw, "slow_body", seconds=60)


def _killed_unanswered(site: Site, draw: random.Random, kind: str, seconds: float) -> Expected:
    batches = draw.randint(1, _SLOTS)
    site.queue(draw, batches)
    site.sandbox.fault(kind, operation="create", after=draw.randrange(batches), seconds=seconds)
    run = site.ingest()
    site.until_seen("create", batches)
    site.until_sent(but=1)
    run.kill()
    return Expected(lost_uploads=1)


@scenario("kill -9 between the answer and the commit")
def unrecorded(site: Site, draw: random.Random) -> Expected:
    """Bouncer has told its id, and nobody has written it down."""
    batches = draw.randint(1, _SLOTS)
    site.queue(draw, batches)
    with site.stop_at(AFTER_ANSWER, batch=draw.randint(1, batches)) as point:
        run = site.ingest()
        point.reached()
        site.until_sent(but=1)
        run.kill()
    return Expected(lost_uploads=1)


@scenario("kill -9 when a lost answer is written down", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    batches = draw.randint(1, _SLOTS)
    site.queue(draw, batches)
    site.sandbox.fault("lost_answer", operation="create", after=draw.randrange(batches))
    with site.stop_at(AFTER_LOST_ANSWER) as point:
        run = site.ingest()
        point.reached()
        site.until_sent(but=1)
        run.kill()
    return Expected(lost_uploads=1)


@scenario("kill -9 while polling", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.sandbox.post("/_sandbox/settings", {"fixed_seconds": 4})
    site.queue(draw, draw.randint(2, _CREW))
    if draw.random() < 0.5:
        site.sandbox.fault("slow", operation="status", times=None, seconds=20)
    run = site.ingest()
    site.until_seen("status", draw.randint(1, 3))
    site.until_uploads_rest()
    run.kill()
    site.sandbox.clear_faults()
    return Expected(lost_uploads=None)


@scenario("kill -9 while downloading", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.queue(draw, draw.randint(1, _CREW))
    site.sandbox.fault("slow_body", operation="download", times=None, seconds=120)
    run = site.ingest()
    site.until_seen("download")
    site.until_sent()
    run.kill()
    site.sandbox.clear_faults()
    return Expected()


@scenario("kill -9 at any moment", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.queue(draw, 7)
    moment = draw.randint(1, 35)
    run = site.ingest()
    site.until(lambda: run.code is not None or site.sandbox.ledger()["requests"] >= moment, f"{moment} requests")
    run.kill()
    return Expected(lost_uploads=None)


@scenario("kill -9, and again when it goes on")
def _(site: Site, draw: random.Random) -> Expected:
    site.queue(draw, _CREW)
    for place in draw.sample([BEFORE_UPLOAD, AFTER_ANSWER, IN_LOAD, END_OF_LOAD], 2):
        with site.stop_at(place, batch=draw.randint(1, _CREW)) as point:
            run = site.ingest()
            site.until(lambda run=run, point=point: point.waits() or run.code is not None, "the place or the end")
            run.kill()
    return Expected(lost_uploads=None)


@scenario("kill -9 when a lost batch is closed", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.queue(draw, 2)
    site.sandbox.fault("forget", after=draw.randrange(2))
    with site.stop_at(CLOSING) as point:
        run = site.ingest()
        point.reached(150)
        site.until_sent()
        run.kill()
    return Expected()


@scenario("kill -9 while a download can never be read", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.account = Account(deadline_seconds=8)
    site.queue(draw, 3)
    site.sandbox.fault("garbled", times=draw.randint(1, 3))
    run = site.ingest()
    unreadable = "SELECT COUNT(*) FROM Bouncer_Batches WHERE unreadable_ts IS NOT NULL"
    site.until(lambda: site.scalar(unreadable) > 0, "a download that cannot be read")
    run.kill()
    return Expected(lost_uploads=None)


@scenario("kill -9 in the wait after a 429 to an upload", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    batches = draw.randint(1, _SLOTS)
    site.queue(draw, batches)
    site.sandbox.fault("status", operation="create", code=429, retry_after=60, after=draw.randrange(batches))
    run = site.ingest()
    site.until(lambda: site.sandbox.faults()[0]["fired"] > 0, "the 429")
    site.until_sent(but=1)
    # The answer may still be on its way: killed now, the upload would rightly count as lost.
    site.until_uploads_rest()
    run.kill()
    return Expected()


@scenario("kill -9 when a refused batch is halved", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.account = Account(slots=1)
    site.queue(draw, 2)
    site.sandbox.fault("status", operation="create", code=400, after=draw.randrange(2))
    with site.stop_at(CLOSING) as point:
        run = site.ingest()
        point.reached()
        run.kill()
    return Expected(lost_uploads=None)


@scenario("kill -9 at every step at once")
def everywhere_at_once(site: Site, draw: random.Random) -> Expected:
    """Six batches stand unsent, unanswered, unrecorded, downloaded and half loaded."""
    site.account = Account(slots=5)
    site.queue(draw, 6)
    site.sandbox.fault("slow_body", operation="download", after=1, times=None, seconds=120)
    site.sandbox.fault("slow_body", operation="create", after=4, seconds=120)
    # Whichever is complete first loads, but for the one whose answer is not recorded.
    with site.stop_at(IN_ANOTHER_LOAD, batch=2) as loading, site.stop_at(AFTER_ANSWER, batch=2) as answered:
        run = site.ingest()
        loading.reached()
        answered.reached()
        site.until_seen("download", 2)
        run.kill()
    return Expected(lost_uploads=None)


@scenario("kill -9 when all slots are taken, and contacts wait")
def full_house(site: Site, draw: random.Random) -> Expected:
    """The next run must not fill its slots with new batches that wait for the old ones."""
    site.sandbox.post("/_sandbox/settings", {"fixed_seconds": 2.5})
    site.account = Account(slots=draw.randint(1, 3))
    site.queue(draw, 8)
    run = site.ingest()
    site.until(lambda: len(site.sandbox.batches()) == site.account.slots, "full slots")
    site.until_uploads_rest()
    run.kill()
    return Expected()


@scenario("kill -9 when no upload was answered", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.queue(draw)
    site.sandbox.fault("slow_body", operation="create", times=None, seconds=120)
    run = site.ingest()
    site.until(lambda: len(site.sandbox.batches()) == site.account.slots, "full slots")
    run.kill()
    return Expected(lost_uploads=3)
