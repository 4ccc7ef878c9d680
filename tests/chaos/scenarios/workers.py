"""Runs on a Prefect worker: the worker dies, or a run of it, and a person retries what failed or crashed."""

import random
from collections.abc import Callable
from contextlib import suppress

from tests.chaos.invariants import Expected
from tests.chaos.scenarios.registry import scenario
from tests.chaos.site import Account, Site
from tests.chaos.workers import Workers

__all__: list[str] = []

_BATCHES = 2


def _working(site: Site, draw: random.Random) -> Workers:
    # A run is a process that takes seconds to start, so there are few of them, and they take their time.
    site.account = Account(slots=_BATCHES)
    site.sandbox.post("/_sandbox/settings", {"fixed_seconds": 8})
    site.queue(draw, _BATCHES)
    workers = site.workers()
    workers.deploy()
    workers.start()
    workers.tick()
    return workers


def _begun(site: Site) -> Callable[[], bool]:
    return lambda: site.seen("status") > 0


@scenario("kill -9 of a worker and its runs", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    workers = _working(site, draw)
    operation = draw.choice(["create", "status", "download"])
    site.until_seen(operation, draw.randint(1, _BATCHES))
    workers.kill()
    return Expected(lost_uploads=None)


@scenario("kill -9 of a worker and its runs, then another worker")
def _(site: Site, draw: random.Random) -> Expected:
    workers = _working(site, draw)
    site.until_seen(draw.choice(["create", "status"]))
    workers.kill()
    workers.start()
    # The owners that died look alive until they have been silent for a while; each minute has a tick.
    site.until(lambda: site.scalar(_STILL_OWNED) == 0, "the silence of the dead")
    # A run that died before it took its batch is replaced by the first tick after three minutes.
    for _ in range(5):
        workers.tick()
        with suppress(TimeoutError):
            site.until(lambda: site.scalar(_OPEN) == 0, "the other worker to settle all", 60)
            break
    return Expected(lost_uploads=None)


@scenario("kill -9 of a worker between taking a run and starting it")
def _(site: Site, draw: random.Random) -> Expected:
    workers = _working(site, draw)
    site.until(lambda: bool(workers.batches("PENDING", "RUNNING")), "a run that the worker has taken")
    workers.kill()
    return Expected(lost_uploads=None)


@scenario("a run that crashed on a worker is retried")
def _(site: Site, draw: random.Random) -> Expected:
    workers = _working(site, draw)
    site.until(_begun(site), "a batch at Bouncer")
    workers.kill_runs()
    return _retried(site, workers, "CRASHED", Expected(lost_uploads=None))


@scenario("a run that failed on a worker is retried", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.sandbox.fault("status", operation="download", code=403, after=draw.randrange(_BATCHES))
    return _retried(site, _working(site, draw), "FAILED", Expected())


def _retried(site: Site, workers: Workers, state: str, expected: Expected) -> Expected:
    site.until(lambda: bool(workers.batches(state)), f"a run that is {state}")
    run = str(workers.batches(state)[0]["id"])
    workers.retry(run)
    workers.until_completed(run)
    return expected


_OPEN = "SELECT COUNT(*) FROM Bouncer_Queue WHERE status IN ('queued', 'assigned')"
_STILL_OWNED = """
    SELECT COUNT(*) FROM Bouncer_Batches
    WHERE owner IS NOT NULL AND heartbeat_ts > CURRENT_TIMESTAMP - INTERVAL 20 SECOND
"""
