"""The list of scenarios."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.invariants import Expected
from tests.chaos.site import Site

__all__ = ["Play", "Scenario", "all_scenarios", "scenario"]

Play = Callable[[Site, random.Random], Expected]
"""Does to a site what the seed draws, and tells what it should end with."""


@dataclass(frozen=True)
class Scenario:
    """Something that goes wrong, by the name that the table shows.

    Attributes:
        short: Whether the short form plays it. The others are in histories of the simulation by the thousand, or are
            much like one that is played.
    """

    name: str
    play: Play
    short: bool


_scenarios: dict[str, Scenario] = {}


def scenario(name: str, *, short: bool = True) -> Callable[[Play], Play]:
    """Puts a function on the list.

    Args:
        name: The scenario's.
        short: Whether the short form plays it.
    """

    def put(play: Play) -> Play:
        if name in _scenarios:
            raise ValueError(f"two scenarios are named {name!r}")
        _scenarios[name] = Scenario(name, play, short)
        return play

    return put


def all_scenarios() -> list[Scenario]:
    """The scenarios, in the order of their modules."""
    return list(_scenarios.values())
