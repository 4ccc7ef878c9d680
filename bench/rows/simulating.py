"""One to a hundred million contacts, with one to a hundred accounts, in simulated time.

Weeks of Bouncer's work cannot be measured, so they are simulated, batch by batch, with costs that are measured in the
same run: what a claim and a load take of the database, and what a batch and a look take of a processor. Bouncer is as
slow as its documentation says, and its limits are the real ones.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from bench.measuring import Bench, Row, median, stopwatch
from bench.rows.claiming import fill
from bench.rows.settling import verified_batches
from bouncer.batches.load import load
from bouncer.queue import claiming
from bouncer.steps.pacing import Pace
from bouncer.storage.engine import engine_for
from bouncer.storage.migrate import upgrade
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.matching import await_verdicts, prepare

__all__ = ["Costs", "Simulated", "requests_of_batch", "simulate", "simulating"]

_BATCH = 10_000
_SLOTS = 15
_ADDRESSES_AN_HOUR = 150_000
"""Between the 100,000 and 200,000 of Bouncer's documentation: https://docs.usebouncer.com."""

_LEAST_REQUESTS = 5
"""Of the batches whose cost to the Prefect server is measured, which take a minute."""

_POLL_SECONDS_MIN, _POLL_SECONDS_MAX = 10.0, 30.0

_OF_PROCESSORS = ("ingest", "server", "look", "look on the server")
"""Costs that whole runs have; without them, where only the simulation runs or only little is measured, its rows on
processors are left out."""


@dataclass(frozen=True)
class Costs:
    """Costs of a batch, in seconds.

    Attributes:
        claim: Of the database; one claim at a time, whoever makes it.
        load: Of the database; as many at once as it has processors.
        ingest: Of a processor, in the run.
        server: Of a processor, in the Prefect server.
        look: Of a processor, in the run, for each look beyond those of the batches that were measured.
        look_on_server: Of a processor, in the Prefect server, for each look beyond those of the measured batches.
    """

    claim: float
    load: float
    ingest: float
    server: float
    look: float
    look_on_server: float


@dataclass(frozen=True)
class Simulated:
    """Result of a simulated run.

    Attributes:
        hours: From the first claim to the last verdict.
        best: Hours that Bouncer alone needs.
        claims_busy: The share of the time in which somebody claims.
        database_busy: The share of the database's processors that claims and loads took.
        processors: Processors that the runs kept busy, all told.
        server_processors: Processors that the Prefect server kept busy.
        requests_a_minute: Of one account.
        database_seconds: Of claims and loads, for a million contacts.
    """

    hours: float
    best: float
    claims_busy: float
    database_busy: float
    processors: float
    server_processors: float
    requests_a_minute: float
    database_seconds: float


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
    requests = requests_of_batch(seconds_at_bouncer)
    more_looks = requests - _LEAST_REQUESTS
    return Simulated(
        hours=last / 3600,
        best=rounds * seconds_at_bouncer / 3600,
        claims_busy=batches * costs.claim / last,
        database_busy=batches * (costs.claim + costs.load) / (last * database_processors),
        processors=batches * (costs.ingest + more_looks * costs.look) / last,
        server_processors=batches * (costs.server + more_looks * costs.look_on_server) / last,
        requests_a_minute=batches / accounts * requests / (last / 60),
        database_seconds=(costs.claim + costs.load) * 1_000_000 / _BATCH,
    )


def requests_of_batch(seconds: float) -> int:
    """Counts the requests for a batch that advances at one speed for so long: an upload, looks, a download."""
    pace = Pace(_BATCH, seconds)
    looks, elapsed = 0, 0.0
    while looks == 0 or elapsed < seconds:
        if looks:
            pace.note(elapsed, int(_BATCH * elapsed / seconds))
        elapsed += pace.seconds_to_next_poll(elapsed, shortest=_POLL_SECONDS_MIN, longest=_POLL_SECONDS_MAX)
        looks += 1
    return looks + 2


def simulating(bench: Bench) -> list[Row]:
    """Simulates with what the benchmarks before have measured; claims and loads, if they have not, are measured."""
    measured = {**dict.fromkeys(_OF_PROCESSORS, 0.0), **_measured(bench), **bench.costs}
    are_processors_known = bench.costs.keys() >= set(_OF_PROCESSORS)
    if not are_processors_known:
        bench.say("simulated: the rows on processors are left out, since no whole run was measured")
    runs = {
        (contacts, accounts): simulate(contacts, accounts, _costs(measured, contacts))
        for contacts, accounts in (
            (1_000_000, 1),
            (10_000_000, 1),
            (10_000_000, 10),
            (100_000_000, 10),
            (100_000_000, 100),
        )
    }
    rows = []
    for (contacts, accounts), run in runs.items():
        what = f"simulated: {contacts // 1_000_000} million contacts, {accounts} account{'s' if accounts > 1 else ''}"
        of_processors = f"{run.processors:.2g} processors, {run.server_processors:.2g} of the Prefect server and "
        bench.say(
            f"{what}: claims take {run.claims_busy:.1%} of the time, the database is busy for {run.database_busy:.1%}, "
            f"{of_processors if are_processors_known else ''}"
            f"{run.requests_a_minute:.3g} requests a minute and account are used"
        )
        rows.append(Row(what, run.hours, "h", floor=run.best, floor_is="what Bouncer alone needs", most_ratio=1.1))
    # Of the last and largest.
    smallest = runs[1_000_000, 1].database_seconds
    return [
        *rows,
        Row(
            f"{what}: claims and loads of a million",
            run.database_seconds,
            "s",
            floor=smallest,
            floor_is="of 1 million contacts, 1 account",
            most_ratio=1.25,
        ),
        Row(f"{what}: share of the time in which somebody claims", 100 * run.claims_busy, "%", most=50),
        Row(f"{what}: the database's share of its two processors", 100 * run.database_busy, "%", most=50),
        *(
            [Row(f"{what}: the Prefect server", run.server_processors, "processors", most=1)]
            if are_processors_known
            else []
        ),
        Row(f"{what}: requests a minute and account", run.requests_a_minute, "requests", most=150),
    ]


def _costs(measured: Mapping[str, float], contacts: int) -> Costs:
    # Out of the longest queue that was measured and is no longer than this one.
    claims = {int(name.rpartition(" ")[2]): cost for name, cost in measured.items() if name.startswith("claim out of")}
    length = max((length for length in claims if length <= contacts), default=min(claims))
    return Costs(
        claims[length],
        measured["load"],
        measured["ingest"],
        measured["server"],
        measured["look"],
        measured["look on the server"],
    )


def _measured(bench: Bench) -> dict[str, float]:
    if {"load", f"claim out of {_BATCH}"} <= bench.costs.keys():
        return {}
    rounds = 3
    claims, loads = [], []
    with bench.server.database() as name:
        engine = engine_for(bench.server.url(name))
        upgrade(engine)
        for verified in verified_batches(engine, bench.folder / "simulating.csv", rounds):
            with stopwatch() as watch:
                awaited = await_verdicts(engine, verified.batch.id)
                load(engine, verified.batch, prepare(verified.verdicts, awaited))
            loads.append(watch.seconds)
        engine.dispose()
    with bench.server.database() as name:
        engine = engine_for(bench.server.url(name))
        upgrade(engine)
        fill(bench, name, rounds * _BATCH)
        for _ in range(rounds):
            with stopwatch() as watch:
                claiming.claim(engine, "default", batches=1, batch_size=_BATCH, fresh_for=FreshFor())
            claims.append(watch.seconds)
        engine.dispose()
    return {f"claim out of {rounds * _BATCH}": median(claims), "load": median(loads)}
