"""The same deaths where there is more to ask than may be asked in a minute, so that the ceiling is what holds."""

import random
from collections.abc import Callable

from tests.chaos.invariants import Expected
from tests.chaos.scenarios.registry import Play, scenario
from tests.chaos.site import Account, Site

__all__: list[str] = []

_CEILING = 40
_END_SECONDS = 300.0


def _narrow(dies: Callable[[Site, random.Random], None]) -> Play:
    def play(site: Site, draw: random.Random) -> Expected:
        # Bouncer itself would let them pass: what holds is the limit alone.
        site.account = Account(requests_per_minute=_CEILING)
        site.queue(draw, 14)
        dies(site, draw)
        return Expected(lost_uploads=None, at_ceiling=True)

    return play


def _until_waiting(site: Site, draw: random.Random) -> None:
    # What may pass at once has passed, so everybody waits for the limit.
    moment = draw.randint(_CEILING // 3, _CEILING // 2)
    site.until(lambda: site.sandbox.ledger()["requests"] >= moment, f"{moment} requests")


@scenario("few requests a minute: kill -9, and again when it goes on", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    return _narrow(_one_after_the_other)(site, draw)


@scenario("few requests a minute: the Prefect server dies", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    return _narrow(_server_dies)(site, draw)


@scenario("few requests a minute: MariaDB dies", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    return _narrow(_database_dies)(site, draw)


@scenario("few requests a minute: of three ingests, two die", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    return _narrow(_two_of_three)(site, draw)


@scenario("few requests a minute: everything dies")
def _(site: Site, draw: random.Random) -> Expected:
    return _narrow(_everything)(site, draw)


def _one_after_the_other(site: Site, draw: random.Random) -> None:
    for _ in range(2):
        run, before = site.ingest(), site.sandbox.ledger()["requests"]
        more = before + draw.randint(8, 14)
        site.until(lambda more=more: site.sandbox.ledger()["requests"] >= more, f"{more} requests")
        run.kill()


def _server_dies(site: Site, draw: random.Random) -> None:
    run = site.ingest()
    _until_waiting(site, draw)
    site.outage(site.prefect, draw.choice((0.0, 3.0, 12.0)))
    run.wait(_END_SECONDS)


def _database_dies(site: Site, draw: random.Random) -> None:
    run = site.ingest()
    _until_waiting(site, draw)
    site.outage(site.mariadb, draw.choice((0.0, 3.0, 12.0)))
    run.wait(_END_SECONDS)


def _two_of_three(site: Site, draw: random.Random) -> None:
    runs = [site.ingest() for _ in range(3)]
    _until_waiting(site, draw)
    for victim in draw.sample(runs, 2):
        victim.kill()
    for run in runs:
        run.wait(_END_SECONDS)


def _everything(site: Site, draw: random.Random) -> None:
    run = site.ingest()
    _until_waiting(site, draw)
    site.kill_all(run)
    site.mariadb.start()
    site.prefect.start()
