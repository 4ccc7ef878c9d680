"""Two ingests at once, on the same database and account."""

import random

from tests.chaos.breakpoints import Place
from tests.chaos.invariants import Expected
from tests.chaos.scenarios.places import AFTER_ANSWER, BEFORE_UPLOAD, END_OF_LOAD, IN_CLAIM, IN_LOAD
from tests.chaos.scenarios.registry import Play, scenario
from tests.chaos.site import Account, Site

__all__: list[str] = []

_END_SECONDS = 300.0


def _both_end(site: Site) -> None:
    for run in [site.ingest(), site.ingest()]:
        site.ends_with(run, 0)


@scenario("two ingests at once")
def _(site: Site, draw: random.Random) -> Expected:
    site.queue(draw, 7)
    _both_end(site)
    return Expected()


@scenario("two ingests at once, few requests a minute")
def _(site: Site, draw: random.Random) -> Expected:
    site.account = Account(requests_per_minute=50, slots=2)
    site.sandbox.post("/_sandbox/settings", {"requests_per_minute": 50})
    site.queue(draw, 6)
    _both_end(site)
    return Expected()


def _one_dies_at(place: Place) -> Play:
    def play(site: Site, draw: random.Random) -> Expected:
        site.queue(draw, 6)
        with site.stop_at(place, batch=draw.randint(1, 4)) as point:
            victim = site.ingest()
            point.reached()
            survivor = site.ingest()
            site.until_seen("credits", 2)
            victim.kill()
        site.ends_with(survivor, 0)
        return Expected(lost_uploads=None)

    return play


for _what, _place in {
    "in its claim": IN_CLAIM,
    "before its upload": BEFORE_UPLOAD,
    "at an answer": AFTER_ANSWER,
    "in a load": IN_LOAD,
    "at a load's commit": END_OF_LOAD,
}.items():
    scenario(f"of two ingests, one dies {_what}", short=_place is IN_LOAD)(_one_dies_at(_place))


@scenario("two ingests die, two go on")
def _(site: Site, draw: random.Random) -> Expected:
    site.queue(draw, 6)
    both = [site.ingest(), site.ingest()]
    moment = draw.randint(2, 15)
    site.until(lambda: site.sandbox.ledger()["requests"] >= moment, f"{moment} requests")
    for run in both:
        run.kill()
    _both_end(site)
    return Expected(lost_uploads=None)


@scenario("two ingests, and answers to uploads lost", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.queue(draw, 5)
    site.sandbox.fault("lost_answer", operation="create", times=2, after=draw.randrange(3))
    _both_end(site)
    return Expected(lost_uploads=2)


@scenario("two ingests whose clocks and time zones differ")
def _(site: Site, draw: random.Random) -> Expected:
    zone = draw.choice(["Pacific/Kiritimati", "America/Anchorage", "Asia/Kathmandu"])
    site.mariadb.execute(f"SET GLOBAL time_zone = '{draw.choice(['+13:00', '-11:00'])}'")
    site.queue(draw, 5)
    runs = [site.ingest(TZ=zone), site.ingest(TZ="UTC")]
    site.until_seen("status")
    runs[draw.randrange(2)].kill()
    for run in runs:
        run.wait(_END_SECONDS)
    return Expected(lost_uploads=None)
