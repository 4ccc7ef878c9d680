"""Shrinking: of a history that breaks something, as little as breaks it still."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tests.simulation.faults import Fault
from tests.simulation.history import Outcome
from tests.simulation.plan import Plan

__all__ = ["Less", "shrink"]

_Play = Callable[[Plan, tuple[Fault, ...] | None], Outcome]

_PLAINER: dict[str, dict[str, object]] = {
    "alone": {"workers": 1},
    "one-account": {"accounts": 1},
    "no-deep-pass": {"deep": False},
    "clocks-agree": {"clocks": (0.0, 0.0)},
    "no-callbacks": {"callbacks": False},
    "no-second-chances": {"second_chances": 0},
    "nothing-stuck": {"stuck": 0.0},
    "nothing-ahead": {"ahead": 0.0},
    "nothing-removed": {"removed": 0.0},
    "nothing-vanishes": {"vanishing": 0.0},
    "no-cap": {"cap": None},
    "no-lag": {"lag": 0.0},
    "nothing-deleted": {"delete": False},
    "batches-of-two": {"batch_size": 2},
    "one-in-flight": {"most_in_flight": 1},
    "as-many-slots": {"slots_beyond": 0},
}
"""What a plan can do without, by the word that says so."""


@dataclass(frozen=True)
class Less:
    """What is left of a history.

    Attributes:
        faults: What goes wrong; None for all that the seed says.
        deeds: Which deeds of people, by their numbers; None for all.
        contacts: How many contacts of the first import; None for all.
        plainer: What the plan does without.
    """

    faults: tuple[Fault, ...] | None = None
    deeds: tuple[int, ...] | None = None
    contacts: int | None = None
    plainer: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> "Less":
        """Reads what ``str`` writes."""
        parts = dict(part.split("=", 1) for part in text.split())
        faults = [one.split(":") for one in parts["faults"].split(",") if one]
        return cls(
            tuple(Fault(int(point), kind.replace("-", " "), float(share)) for point, kind, share in faults),
            tuple(map(int, parts["deeds"].split(","))),
            int(parts["contacts"]),
            tuple(word for word in parts.get("plainer", "").split(",") if word),
        )

    def __str__(self) -> str:
        faults = ",".join(f"{one.point}:{one.kind.replace(' ', '-')}:{one.share}" for one in self.faults or ())
        deeds = ",".join(map(str, self.deeds or ()))
        plainer = f" plainer={','.join(self.plainer)}" if self.plainer else ""
        return f"faults={faults} deeds={deeds} contacts={self.contacts}{plainer}"

    def applied(self, plan: Plan) -> Plan:
        """The plan with this alone left."""
        deeds = plan.deeds if self.deeds is None else tuple(plan.deeds[number] for number in self.deeds)
        if self.contacts is not None and deeds[0].what == "import":
            deeds = (replace(deeds[0], addresses=deeds[0].addresses[: self.contacts]), *deeds[1:])
        changes: dict[str, object] = {"deeds": deeds}
        for word in self.plainer:
            changes |= _PLAINER[word]
        return replace(plan, **changes)  # type: ignore[arg-type]  # of the fields' types by the table


def shrink(plan: Plan, outcome: Outcome, play: _Play, most: int = 150) -> tuple[Less, Outcome]:
    """Leaves out of a history what is not needed to break the same thing.

    Args:
        plan: Its plan.
        outcome: What came of it.
        play: Plays a plan, with what goes wrong.
        most: How many histories may be played for it.

    Returns:
        What is left, and what comes of that.
    """
    wanted = _kind(outcome.broken)
    best = Less(tuple(outcome.faults), tuple(range(len(plan.deeds))), len(plan.deeds[0].addresses))
    smallest = outcome
    played = 0
    progress = True
    while progress:
        progress = False
        for less in _smaller(best):
            if played >= most:
                return best, smallest
            played += 1
            tried = play(less.applied(plan), less.faults)
            if _kind(tried.broken) == wanted:
                best, smallest, progress = less, tried, True
                break
    return best, smallest


def _smaller(less: Less) -> Iterator[Less]:
    faults, deeds, contacts = less.faults or (), less.deeds or (), less.contacts or 0
    for part in _without_parts(faults):
        yield replace(less, faults=part)
    for number in reversed(deeds[1:]):
        yield replace(less, deeds=tuple(one for one in deeds if one != number))
    for fewer in sorted({1, contacts // 2, contacts - 1}):
        if 0 < fewer < contacts:
            yield replace(less, contacts=fewer)
    for word in _PLAINER:
        if word not in less.plainer:
            yield replace(less, plainer=(*less.plainer, word))


def _without_parts(faults: tuple[Fault, ...]) -> Iterator[tuple[Fault, ...]]:
    half = len(faults) // 2
    if half > 1:
        yield faults[:half]
        yield faults[half:]
    for number in range(len(faults)):
        yield faults[:number] + faults[number + 1 :]


def _kind(broken: str) -> str:
    return re.sub(r"[0-9]+|\(.*?\)", "#", broken)
