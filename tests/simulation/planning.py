"""Makes the plan of a history from its seed."""

import random
from dataclasses import replace

from tests.simulation.aiming import aimed
from tests.simulation.plan import CONTACT_FAILED, Deed, Plan
from tests.simulation.service.verdicts import KINDS, MALFORMED

__all__ = ["plan_of"]

_DOMAINS = ("acme.com", "beta.org", "gamma.net", "delta.io")
_FREE_DOMAIN = "sandbox.usebouncer.com"

_DEEDS = {
    "import": 4,
    "cancel": 4,
    "pause": 2,
    "resume": 2,
    "top up": 1,
    "requeue": 2,
    "requeue a request": 2,
    "requeue held": 2,
    "change a block": 3,
    "restore": 2,
    "delete a contact": 2,
    "change a contact": 1,
    "set the database's clock": 2,
}
"""Deeds of people, with how often they do them."""


_OUTAGES = {
    "Bouncer goes away": 4,
    "the database goes away": 4,
    "the Prefect server goes away": 3,
    "the key goes away": 2,
}
"""Outages of minutes, with how often they come."""

_OUTAGE = 0.05
_PAIRED = 0.04
_RARE = 0.08
_IN_ROUNDS = 12
_HOUR = 3_600.0


def plan_of(seed: int) -> Plan:
    """Makes the plan that belongs to a seed: every twentieth is a large one; small ones are played far more quickly.

    Every eighth aims at something.
    """
    large = _large(seed)
    plan = large if seed % 20 == 0 else _with_rare_deeds(_capped(_paired(_with_outage(_smaller(large)))))
    return aimed(plan) if seed % 8 == 2 else plan


def _large(seed: int) -> Plan:
    chance = random.Random(f"plan {seed}")
    # What was thought of later has dice of its own, so that the seeds before it keep the rest of their plans.
    later = random.Random(f"later plan {seed}")
    batch_size = chance.choice((2, 2, 3, 4, 5, 10))
    most_in_flight = chance.choice((1, 1, 2, 3, 4))
    batches = chance.choice((1, 1, 1, 2, 2, 3, 4))
    in_real_time = chance.random() < 0.2
    if in_real_time and chance.random() < 0.7:
        batches, batch_size = 1, 3
    contacts = min(60, max(1, chance.randint(batch_size * (batches - 1) + 1, batch_size * batches)))
    # All that is in flight is done within the minute for which an upload whose answer was lost counts as in flight.
    slowest = 40.0 / (batch_size * most_in_flight)
    calm = chance.random() < 0.15
    harsh = chance.choice((0.5, 1.5, 3.0, 3.0))
    return Plan(
        seed=seed,
        workers=chance.choice((1, 1, 1, 2, 2, 3)),
        accounts=chance.choice((1, 1, 1, 2)),
        deep=False,
        batch_size=batch_size,
        most_in_flight=most_in_flight,
        slots_beyond=later.choice((0, 0, 0, 4)),
        in_parallel=chance.random() < 0.4,
        seconds_an_address=min(slowest, chance.choice((0.05, 0.2, 0.5, 1.0, 3.0))),
        ahead=0.0,
        stuck=chance.choice((0.0, 0.0, 0.0, 0.1)),
        removed=chance.choice((0.0, 0.0, 0.0, 0.0, 0.0, 0.2)),
        vanishing=later.choice((0.0, 0.0, 0.0, 0.0, 0.0, 0.2)),
        lag=later.choice((0.0, 0.0, 4.0)),
        requests_a_minute=chance.choice((20, 60, 200, 200)),
        credits=10_000 if chance.random() < 0.85 else chance.randint(0, contacts),
        cap=None,
        ambiguous_upload="resubmit" if chance.random() < 0.7 else "hold",
        callbacks=chance.random() < 0.3,
        realtime=3 if in_real_time else 0,
        poll_seconds_max=10.0,
        check_seconds=60.0,
        checks_first=True,
        count_seconds=8,
        deadline=chance.choice((60.0, 120.0)),
        queue_ahead=chance.choice((0.0, 0.0, 0.0, 5.0, 900.0)),
        second_chances=chance.choice((0, 0, 0, 1)),
        delete=chance.random() < 0.1,
        clocks=(chance.uniform(-5, 5), chance.uniform(-5, 5)),
        # What costs money and what changes a state is where it hurts most.
        rates={
            "commit": 0.01 * harsh,
            "way": 0.05 * harsh,
            "request": 0.03 * harsh,
            "real time": 0.03 * harsh,
            "upload": 0.12 * harsh,
            "wait": 0.004 * harsh,
        },
        most_faults=0 if calm else chance.choice((1, 2, 3, 5, 8)),
        quiet_after=chance.choice((45.0, 90.0, 150.0)),
        deeds=tuple(_deeds(chance, contacts, (0, 0, 0, 1, 1, 2, 3), _DEEDS, ("",), later=25.0)),
    )


def _smaller(plan: Plan) -> Plan:
    # Few contacts and little waiting, and as much that goes wrong: nearly all that can break breaks with two batches.
    chance = random.Random(f"small plan {plan.seed}")
    batch_size = chance.choice((2, 2, 2, 3))
    most_in_flight = chance.choice((1, 1, 1, 2, 2, 3))
    contacts = chance.randint(1, batch_size * chance.choice((1, 1, 2, 2, 3)))
    harsh = chance.choice((1.0, 3.0, 6.0, 6.0))
    realtime = 3 if chance.random() < 0.2 else 0
    # It is over so soon that little of what people do would meet it.
    deeds = _DEEDS | {"pause": 12, "delete a contact": 6} if realtime else _DEEDS
    moments = (
        ("", "ready", "in real time") if realtime else ("", "", "ready", "uploading", "queued at Bouncer", "verified")
    )
    # Behind a colleague's list a batch is queued for longer than the deadline allows one that runs.
    stands = chance.random() < 0.03
    return replace(
        plan,
        workers=chance.choice((1, 1, 1, 2, 2)),
        accounts=chance.choice((1, 1, 1, 1, 1, 2)),
        batch_size=batch_size,
        most_in_flight=most_in_flight,
        in_parallel=chance.random() < 0.4 and not stands,
        seconds_an_address=min(40.0 / (batch_size * most_in_flight), chance.choice((0.05, 0.05, 0.2, 0.5, 1.0, 5.0))),
        ahead=100.0 if stands else 0.0,
        stuck=chance.choice((0.0,) * 9 + (0.3,)),
        removed=chance.choice((0.0,) * 15 + (0.2,)),
        vanishing=chance.choice((0.0,) * 15 + (0.2,)),
        lag=chance.choice((0.0,) * 5 + (4.0,)),
        credits=chance.randint(0, contacts) if chance.random() < 0.06 else 10_000,
        callbacks=chance.random() < 0.12,
        realtime=realtime,
        poll_seconds_max=30.0,
        check_seconds=150.0,
        checks_first=chance.random() < 0.3,
        count_seconds=30,
        deadline=30.0,
        second_chances=chance.choice((0,) * 7 + (1,)),
        rates={
            "commit": 0.01 * harsh,
            "way": 0.05 * harsh,
            "request": 0.03 * harsh,
            "real time": 0.08 * harsh,
            "upload": 0.1 * harsh,
            "wait": 0.004 * harsh,
        },
        quiet_after=chance.choice((20.0, 45.0)),
        deeds=tuple(_deeds(chance, contacts, (0, 0, 0, 1, 1, 2), deeds, moments, later=3.0 if realtime else 6.0)),
    )


def _capped(plan: Plan) -> Plan:
    # Alone, since others' requests may have the same addresses, and a person who has a lost upload sent again decides.
    chance = random.Random(f"cap {plan.seed}")
    if chance.random() > 0.06:
        return plan
    return replace(plan, cap=chance.randint(1, len(plan.deeds[0].addresses)), deeds=plan.deeds[:1])


def _with_outage(plan: Plan) -> Plan:
    chance = random.Random(f"outages {plan.seed}")
    if chance.random() > _OUTAGE:
        return plan
    what = chance.choices(list(_OUTAGES), list(_OUTAGES.values()))[0]
    moment = chance.choice(
        ("", "ready", "in real time" if plan.realtime else "uploading", "queued at Bouncer", "verified")
    )
    deed = Deed(round(chance.expovariate(1 / 4), 1), what, share=round(chance.random(), 4), when=moment)
    return replace(plan, deeds=tuple(sorted((*plan.deeds, deed), key=lambda deed: deed.at)))


def _paired(plan: Plan) -> Plan:
    # By chance alone nothing has failed yet when somebody wants it back, and nothing is short when somebody pauses.
    chance = random.Random(f"pair {plan.seed}")
    if chance.random() > _PAIRED:
        return plan
    share = round(chance.random(), 4)
    first, requeue = plan.deeds[0], chance.choice(("requeue", "requeue a request"))
    wanted_back = Deed(0.1, requeue, share=share, when=CONTACT_FAILED, patience=300.0)
    match chance.choice(("cancelled", "lost", "refused", "short")):
        case "cancelled":
            moment = chance.choice(("ready", "uploading", "queued at Bouncer"))
            later = chance.choice((0.2, 20.0))
            deeds = [Deed(0.1, "cancel", share=share, when=moment), Deed(later, "requeue a request", share=share)]
            return replace(plan, deeds=(first, *deeds))
        case "lost":
            return replace(plan, vanishing=0.8, removed=0.8, deeds=(first, wanted_back))
        case "refused":
            first = replace(first, addresses=(*first.addresses[:3], f"{MALFORMED}1@acme.com"))
            return replace(plan, deeds=(first, wanted_back))
    pause = Deed(0.1, "pause", share=share, when="uploading")
    return replace(plan, accounts=1, credits=len(first.addresses) // 2, deeds=(first, pause))


def _with_rare_deeds(plan: Plan) -> Plan:
    # With dice of its own, as what is played in few histories changes no other.
    chance = random.Random(f"rarer {plan.seed}")
    kind = chance.random()
    if plan.cap is not None or kind > _RARE:
        return plan
    moment = "" if chance.random() < 0.3 else chance.choice(("ready", "uploading", "queued at Bouncer", "verified"))
    at = round(chance.expovariate(1 / 4), 1)
    share = round(chance.random(), 4)
    if kind < 0.02:
        # Mostly between the moment at which the addresses of an upload are read and its beginning.
        moment = "ready" if chance.random() < 0.6 else moment
        if plan.realtime:
            # So many that they are asked for in several rounds, between two of which a person may go.
            first = replace(plan.deeds[0], addresses=tuple(_addresses(chance, _IN_ROUNDS, start=0)))
            plan = replace(plan, realtime=_IN_ROUNDS, batch_size=_IN_ROUNDS, deeds=(first, *plan.deeds[1:]))
            moment = "in real time"
        more = [Deed(0.1 * at, "erase a person", share=round(0.5 * share, 4), when=moment)]
    elif kind > 0.06:
        known = plan.deeds[0].addresses
        new = _addresses(chance, chance.randint(1, 6), start=900)
        file = tuple(chance.choice(known) if chance.random() < 0.3 else one for one in new)
        # Whoever is not sure imports it again.
        more = [Deed(at, "import a file", file)] * chance.choice((1, 1, 2))
    elif kind < 0.054:
        first = plan.deeds[0]
        doubtful = tuple(f"r{one[1:]}" if chance.random() < 0.5 and one[0] == "d" else one for one in first.addresses)
        plan = replace(plan, deep=True, deeds=(replace(first, addresses=doubtful), *plan.deeds[1:]))
        more = [Deed(round(at + 15.0 * number, 1), "deep pass", when="completed") for number in (1, 2)]
    else:
        # What an hour later nobody works on, housekeeping closes.
        more = [
            Deed(at, "pause", when=moment),
            Deed(round(at + 0.2, 1), "delete all contacts"),
            Deed(_HOUR + 200.0, "housekeeping"),
        ]
    return replace(plan, deeds=tuple(sorted((*plan.deeds, *more), key=lambda deed: deed.at)))


def _deeds(
    chance: random.Random,
    contacts: int,
    numbers: tuple[int, ...],
    weights: dict[str, int],
    moments: tuple[str, ...],
    later: float,
) -> list[Deed]:
    first = _addresses(chance, contacts, start=0)
    deeds = [Deed(0.0, "import", tuple(first), share=chance.random())]
    for _ in range(chance.choice(numbers)):
        what = chance.choices(list(weights), list(weights.values()))[0]
        at = round(chance.expovariate(1 / later), 1)
        if what == "restore":
            deeds.append(Deed(at, "backup"))
            deeds.append(Deed(round(at + chance.expovariate(1 / (0.6 * later)), 1), "restore"))
            continue
        addresses: tuple[str, ...] = ()
        if what == "import":
            more = _addresses(chance, chance.randint(1, max(1, contacts // 2)), start=100 * len(deeds))
            addresses = tuple(chance.choice(first) if chance.random() < 0.3 else one for one in more)
        share = round(chance.random(), 4)
        # Where there is one moment alone, no dice are thrown, so that large plans stay what they were.
        when = chance.choice(moments) if len(moments) > 1 and what != "import" else ""
        deeds.append(Deed(at, what, addresses, share, when))
    return sorted(deeds, key=lambda deed: deed.at)


def _addresses(chance: random.Random, count: int, start: int) -> list[str]:
    odd = chance.random() < 0.5
    weights = dict.fromkeys(KINDS, 1.0) | {"d": 30.0, MALFORMED: 0.3 if odd else 0.0}
    if not odd:
        weights |= {"g": 0.0, "l": 0.0}
    made: list[str] = []
    for number in range(start, start + count):
        if made and chance.random() < 0.07:
            twin = chance.choice(made)
            made.append(twin.upper() if chance.random() < 0.5 else twin)
        elif chance.random() < 0.03:
            made.append(f"no address {number}")
        else:
            kind = chance.choices(list(weights), list(weights.values()))[0]
            domain = _FREE_DOMAIN if chance.random() < 0.03 else chance.choice(_DOMAINS)
            made.append(f"{kind}{number}@{domain}")
    return made
