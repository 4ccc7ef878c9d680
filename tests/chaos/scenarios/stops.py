"""Runs that are asked to stop, with SIGTERM as by a service manager or SIGINT as by Ctrl-C."""

import random
import signal

from tests.chaos.invariants import Expected
from tests.chaos.scenarios.registry import Play, scenario
from tests.chaos.site import Site

__all__: list[str] = []

_STOP_SECONDS = 20.0
_END_SECONDS = 300.0


def _stopped_while(operation: str, kind: str, number: signal.Signals) -> Play:
    def play(site: Site, draw: random.Random) -> Expected:
        site.sandbox.post("/_sandbox/settings", {"fixed_seconds": 2.5})
        site.queue(draw)
        site.sandbox.fault(kind, operation=operation, after=draw.randrange(2), seconds=4, times=None)
        run = site.ingest()
        site.until_seen(operation, draw.randint(1, 3))
        run.send(number)
        run.wait(_STOP_SECONDS)
        site.sandbox.clear_faults()
        site.ends_with(run, 2)
        return Expected()

    return play


for _operation, _kind in (("create", "slow"), ("create", "slow_body"), ("status", "slow"), ("download", "slow_body")):
    scenario(f"SIGTERM, {_operation} is {_kind.replace('_', ' ')}", short=_kind == "slow_body")(
        _stopped_while(_operation, _kind, signal.SIGTERM)
    )
scenario("SIGINT while polling")(_stopped_while("status", "slow", signal.SIGINT))


@scenario("SIGTERM at any moment")
def _(site: Site, draw: random.Random) -> Expected:
    site.queue(draw, 6)
    moment = draw.randint(1, 25)
    run = site.ingest()
    site.until(lambda: run.code is not None or site.sandbox.ledger()["requests"] >= moment, f"{moment} requests")
    run.send(signal.SIGTERM)
    run.wait(_STOP_SECONDS)
    return Expected()


@scenario("SIGTERM to one of two ingests")
def _(site: Site, draw: random.Random) -> Expected:
    site.queue(draw, 6)
    both = [site.ingest(), site.ingest()]
    site.until_seen("create", draw.randint(1, 4))
    stopped = draw.randrange(2)
    both[stopped].send(signal.SIGTERM)
    both[stopped].wait(_STOP_SECONDS)
    site.ends_with(both[1 - stopped], 0)
    return Expected()
