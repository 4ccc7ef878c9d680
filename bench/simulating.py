"""One to a hundred million contacts, with one to a hundred accounts, in simulated time.

Weeks of Bouncer's work cannot be measured, so they are simulated, batch by batch, with costs that are measured here:
what a claim and a load take of the database, and what a batch takes of a processor. Bouncer is as slow as its
documentation says, and its limits are the real ones.
"""

import heapq
from dataclasses import dataclass

from bench.claiming import fill
from bench.measuring import Bench, Row, median, stopwatch
from bench.settling import verified_batches
from bouncer import claiming
from bouncer.database import engine_for, read, write
from bouncer.loading import await_verdicts, load
from bouncer.migrate import upgrade
from bouncer.reusing import FreshFor

__all__ = ["Costs", "Simulated", "simulate", "simulating"]

_BATCH = 10_000
_SLOTS = 15
_ADDRESSES_AN_HOUR = 150_000
"""Between the 100,000 and 200,000 of Bouncer's documentation: https://docs.usebouncer.com."""

_REQUESTS_A_BATCH = 5
_PROCESSOR_SECONDS_A_BATCH = 4.0
"""The target of the row on processor time; what is measured lies below it."""


@dataclass(frozen=True)
class Costs:
    """What a batch takes, in seconds.

    Attributes:
        claim: Of the database; one claim at a time, whoever makes it.
        load: Of the database; as many at once as it has processors.
    """

    claim: float
    load: float


@dataclass(frozen=True)
class Simulated:
    """How a run went.

    Attributes:
        hours: From the first claim to the last verdict.
        best: Hours that Bouncer alone needs.
        claims_busy: The share of the time in which somebody claims.
        database_busy: The share of the database's processors that claims and loads took.
        processors: Processors that the runs kept busy, all told.
        requests_a_minute: Of one account.
    """

    hours: float
    best: float
    claims_busy: float
    database_busy: float
    processors: float
    requests_a_minute: float


def simulate(contacts: int, accounts: int, costs: Costs, *, database_processors: int = 2) -> Simulated:
    """Runs the batches through claims, slots and loads; the time is that of the events alone.

    Args:
        contacts: How many wait.
        accounts: How many accounts work on them, each with its own slots and limits.
        costs: What a batch takes of the database.
        database_processors: How many claims and loads it works on at once.
    """
    batches = -(-contacts // _BATCH)
    # With all slots in use each batch has its share of what Bouncer does in an hour for one account.
    seconds_at_bouncer = _BATCH * _SLOTS / _ADDRESSES_AN_HOUR * 3600
    free_slots = [0.0] * min(accounts * _SLOTS, batches)
    database = [0.0] * database_processors
    claims_free = last = 0.0
    for _ in range(batches):
        slot = heapq.heappop(free_slots)
        claimed = max(slot, claims_free) + costs.claim
        claims_free = claimed
        verified = claimed + seconds_at_bouncer
        heapq.heappush(free_slots, verified)
        stored = max(verified, heapq.heappop(database)) + costs.load
        heapq.heappush(database, stored)
        last = max(last, stored)
    rounds = -(-batches // (accounts * _SLOTS))
    return Simulated(
        hours=last / 3600,
        best=rounds * seconds_at_bouncer / 3600,
        claims_busy=batches * costs.claim / last,
        database_busy=batches * (costs.claim + costs.load) / (last * database_processors),
        processors=batches * _PROCESSOR_SECONDS_A_BATCH / last,
        requests_a_minute=batches / accounts * _REQUESTS_A_BATCH / (last / 60),
    )


def simulating(bench: Bench) -> list[Row]:
    """Measures what claims and loads take, and simulates with it."""
    costs = _measured(bench)
    bench.say(f"a claim takes {costs.claim:.2f} s of a batch, a load {costs.load:.2f} s")
    rows = []
    for contacts, accounts in (
        (1_000_000, 1),
        (10_000_000, 1),
        (10_000_000, 10),
        (100_000_000, 10),
        (100_000_000, 100),
    ):
        run = simulate(contacts, accounts, costs)
        what = f"simulated: {contacts // 1_000_000} million contacts, {accounts} account{'s' if accounts > 1 else ''}"
        bench.say(
            f"{what}: claims take {run.claims_busy:.1%} of the time, the database is busy for {run.database_busy:.1%}, "
            f"{run.processors:.2g} processors and {run.requests_a_minute:.3g} requests a minute and account are used"
        )
        rows.append(Row(what, run.hours, "h", floor=run.best, floor_is="what Bouncer alone needs", most_ratio=1.1))
    return rows


def _measured(bench: Bench) -> Costs:
    rounds = 3 if bench.quick else 7
    claims, loads = [], []
    with bench.mariadb.database() as name:
        engine = engine_for(bench.mariadb.url(name))
        upgrade(engine)
        for verified in verified_batches(engine, bench.folder / "simulating.csv", rounds):
            awaited = read(engine, await_verdicts, verified.batch)
            with stopwatch() as watch:
                write(engine, load, verified.batch, verified.verdicts, awaited)
            loads.append(watch.seconds)
        engine.dispose()
    with bench.mariadb.database() as name:
        engine = engine_for(bench.mariadb.url(name))
        upgrade(engine)
        fill(bench, name, rounds * _BATCH)
        for _ in range(rounds):
            with stopwatch() as watch:
                write(engine, claiming.claim, "default", batches=1, batch_size=_BATCH, fresh_for=FreshFor())
            claims.append(watch.seconds)
        engine.dispose()
    return Costs(median(claims), median(loads))
