"""Servers that die: Prefect, MariaDB, and all of them at once."""

import random
from collections.abc import Callable

from tests.chaos.breakpoints import Place
from tests.chaos.invariants import Expected
from tests.chaos.scenarios.places import AFTER_ANSWER, BEFORE_UPLOAD, END_OF_LOAD, IN_CLAIM, IN_LOAD, VERIFIED
from tests.chaos.scenarios.registry import Play, scenario
from tests.chaos.servers import PrefectServer
from tests.chaos.site import Site
from tests.mariadb_server import MariaDBServer

__all__ = ["prefect_dies"]

_SECONDS_AWAY = (0.0, 3.0, 12.0)
_BEYOND_PATIENCE_SECONDS = 140.0
_AROUND_PATIENCE_SECONDS = (130.0, 230.0)
_END_SECONDS = 300.0
_STEPS = {
    "in a claim": IN_CLAIM,
    "before an upload": BEFORE_UPLOAD,
    "at an answer": AFTER_ANSWER,
    "at a completion": VERIFIED,
    "in a load": IN_LOAD,
    "at a load's commit": END_OF_LOAD,
}


def _dies_at(place: Place, server_of: Callable[[Site], PrefectServer | MariaDBServer]) -> Play:
    def play(site: Site, draw: random.Random) -> Expected:
        site.queue(draw)
        with site.stop_at(place, batch=draw.randint(1, 4)) as point:
            run = site.ingest()
            point.reached()
            server = server_of(site)
            server.kill()
            if server is site.prefect:
                point.release()
            site.stay_away(draw.choice(_SECONDS_AWAY))
            server.start()
        run.wait(_END_SECONDS)
        return Expected(lost_uploads=None)

    return play


for _step, _place in _STEPS.items():
    scenario(f"the Prefect server dies {_step}", short=_place in {IN_CLAIM, AFTER_ANSWER})(
        _dies_at(_place, lambda site: site.prefect)
    )
    scenario(f"MariaDB dies {_step}", short=_place in {IN_CLAIM, IN_LOAD, END_OF_LOAD})(
        _dies_at(_place, lambda site: site.mariadb)
    )


@scenario("the Prefect server dies while batches are polled")
def prefect_dies(site: Site, draw: random.Random) -> Expected:
    """All slots are taken, so nothing is being sent."""
    site.sandbox.post("/_sandbox/settings", {"fixed_seconds": 2.5})
    site.queue(draw)
    run = site.ingest()
    site.until_seen("status", draw.randint(1, 4))
    site.outage(site.prefect, draw.choice(_SECONDS_AWAY))
    run.wait(_END_SECONDS)
    return Expected()


@scenario("the Prefect server dies again and again")
def _(site: Site, draw: random.Random) -> Expected:
    site.sandbox.post("/_sandbox/settings", {"fixed_seconds": 2})
    site.queue(draw)
    run = site.ingest()
    for requests in sorted(draw.sample(range(2, 18), 3)):
        site.until(lambda n=requests: run.code is not None or site.sandbox.ledger()["requests"] >= n, "requests")
        site.outage(site.prefect, draw.choice(_SECONDS_AWAY))
    run.wait(_END_SECONDS)
    return Expected(lost_uploads=None)


@scenario("the Prefect server stays away for minutes")
def _(site: Site, draw: random.Random) -> Expected:
    return _stays_away(site, draw, site.prefect)


@scenario("MariaDB stays away for minutes")
def _(site: Site, draw: random.Random) -> Expected:
    return _stays_away(site, draw, site.mariadb)


def _stays_away(site: Site, draw: random.Random, server: PrefectServer | MariaDBServer) -> Expected:
    site.queue(draw)
    run = site.ingest()
    site.until(lambda: site.sandbox.ledger()["requests"] >= draw.randint(2, 12), "requests")
    site.outage(server, _BEYOND_PATIENCE_SECONDS)
    run.wait(_END_SECONDS)
    return Expected(lost_uploads=None)


@scenario("MariaDB stays away for minutes while an upload waits for its answer")
def _(site: Site, draw: random.Random) -> Expected:
    batches = draw.randint(1, 3)
    site.queue(draw, batches)
    before = draw.randrange(batches)
    if draw.random() < 0.5:
        site.sandbox.fault("lost_answer", operation="create", after=before)
    else:
        site.sandbox.fault("slow_body", operation="create", after=before, seconds=5)
    run = site.ingest()
    site.until(lambda: len(site.sandbox.batches()) > before, "the batch at the sandbox")
    site.outage(site.mariadb, draw.uniform(*_AROUND_PATIENCE_SECONDS))
    run.wait(_END_SECONDS)
    return Expected(lost_uploads=None)


@scenario("MariaDB dies again and again")
def _(site: Site, draw: random.Random) -> Expected:
    site.queue(draw)
    run = site.ingest()
    for requests in sorted(draw.sample(range(2, 22), 3)):
        site.until(lambda n=requests: run.code is not None or site.sandbox.ledger()["requests"] >= n, "requests")
        site.outage(site.mariadb, draw.choice(_SECONDS_AWAY))
    run.wait(_END_SECONDS)
    return Expected(lost_uploads=None)


@scenario("everything dies at once")
def _(site: Site, draw: random.Random) -> Expected:
    site.queue(draw)
    with site.stop_at(draw.choice(list(_STEPS.values())), batch=draw.randint(1, 4)) as point:
        run = site.ingest()
        point.reached()
        site.kill_all(run)
        site.mariadb.start()
        site.prefect.start()
    return Expected(lost_uploads=None)


@scenario("everything dies at any moment")
def _(site: Site, draw: random.Random) -> Expected:
    site.queue(draw)
    run = site.ingest()
    moment = draw.randint(1, 25)
    site.until(lambda: run.code is not None or site.sandbox.ledger()["requests"] >= moment, f"{moment} requests")
    site.kill_all(run)
    site.mariadb.start()
    site.prefect.start()
    return Expected(lost_uploads=None)


@scenario("a run and its own Prefect server die")
def _(site: Site, draw: random.Random) -> Expected:
    return _with_its_own_server(site, draw, also_the_run=True)


@scenario("a run's own Prefect server dies")
def _(site: Site, draw: random.Random) -> Expected:
    return _with_its_own_server(site, draw, also_the_run=False)


def _with_its_own_server(site: Site, draw: random.Random, *, also_the_run: bool) -> Expected:
    site.own_server = True
    site.sandbox.post("/_sandbox/settings", {"fixed_seconds": 2})
    site.queue(draw)
    run = site.ingest()
    moment = draw.randint(2, 12)
    site.until(lambda: run.code is not None or site.sandbox.ledger()["requests"] >= moment, f"{moment} requests")
    if also_the_run:
        run.kill()
    site.kill_own_server()
    if not also_the_run:
        run.wait(_END_SECONDS)
    return Expected(lost_uploads=None)
