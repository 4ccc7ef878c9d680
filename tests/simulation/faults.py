"""Faults of a history: at each point at which something can go wrong, the seed, or a list, decides whether it does."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tests.simulation.machine.processes import Process

__all__ = ["COMMIT", "REQUEST", "WAIT", "Fault", "Faults", "freeze"]

COMMIT = {"killed before": 3, "killed after": 4, "lost before": 2, "lost after": 3, "frozen": 2, "stopped": 1}
"""What can happen at a commit, with how often."""

REQUEST = {
    "no connection": 2,
    "429": 2,
    "429 without a time": 1,
    "503": 2,
    "answer lost": 4,
    "request lost": 2,
    "502 afterwards": 2,
    "504 before": 1,
    "no answer": 1,
    "cut short": 3,
    "killed while it runs": 4,
    "frozen while it runs": 2,
}
"""What can happen to a request, with how often."""

WAIT = {"killed": 3, "stopped": 1}
"""What can happen to a process while it waits for the database, with how often."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        point: The number of the point in the history at which it does.
        kind: What.
        share: A number from 0 to 1 for whatever has to be chosen more.
    """

    point: int
    kind: str
    share: float


def freeze(process: Process, fault: Fault) -> None:
    """Lets a process stand still, long enough for others to take it for dead, or not quite.

    Mostly it goes on a moment after another has taken what it works on, if that comes sooner.
    """
    soon = 10 * fault.share % 1 if fault.share > 0.3 else None
    process.freeze(10.0 + 50.0 * fault.share, soon)


class Faults:
    """Decides what goes wrong.

    Args:
        seed: Of the history.
        rates: How likely anything goes wrong at a point of a kind.
        most: How much goes wrong in all.
        told: What goes wrong, instead of what the seed says.
    """

    def __init__(self, seed: int, rates: Mapping[str, float], most: int, told: tuple[Fault, ...] | None = None) -> None:
        self._chance = random.Random(f"faults {seed}")
        self._rates = rates
        self._left = most
        self._is_quiet = most == 0
        self._told = None if told is None else {fault.point: fault for fault in told}
        self._points = 0
        self.happened: list[Fault] = []
        self.counts: Counter[str] = Counter()

    @property
    def are_over(self) -> bool:
        """True if nothing will go wrong any more."""
        return self._left <= 0

    def stop(self) -> None:
        """From now on nothing goes wrong."""
        self._left, self._is_quiet = 0, True

    def at(self, where: str, kinds: Mapping[str, int], aimed: str = "") -> Fault | None:
        """Decides what goes wrong at this point of the history: what is aimed at it, if anything."""
        self._points += 1
        if self._is_quiet or (self._left <= 0 and not aimed):
            return None
        if self._told is not None:
            fault = self._told.get(self._points)
            if fault is None or fault.kind not in kinds:
                return None
        else:
            if self._chance.random() >= self._rates.get(where, 0.0) and not aimed:
                return None
            kind = aimed or self._chance.choices(list(kinds), list(kinds.values()))[0]
            fault = Fault(self._points, kind, round(self._chance.random(), 4))
        self._left -= 1
        self.happened.append(fault)
        self.counts[fault.kind] += 1
        return fault
