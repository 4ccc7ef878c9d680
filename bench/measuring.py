"""Result of a benchmark (a figure, its floor, the target and whether it is reached), and the timing of it."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from bench.servers import Server

__all__ = ["Bench", "Benchmark", "Row", "Stopwatch", "median", "stopwatch"]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: What was measured.
        measured: The figure; the median where it was taken several times.
        unit: Its unit.
        floor: The best that could be, or what it is compared with; measured or reckoned in the same run. None where
            there is none.
        floor_is: What the floor is.
        most_ratio: The target: ``measured / floor`` at most; None for none.
        most: The target: ``measured`` at most; None for none.
        least: The target: ``measured`` at least; None for none.
    """

    what: str
    measured: float
    unit: str
    floor: float | None = None
    floor_is: str = ""
    most_ratio: float | None = None
    most: float | None = None
    least: float | None = None

    def unjudged(self) -> "Row":
        """The same figure without a target."""
        return replace(self, most_ratio=None, most=None, least=None)

    @property
    def ratio(self) -> float | None:
        """Ratio of the figure to its floor."""
        return self.measured / self.floor if self.floor else None

    @property
    def target(self) -> str:
        """The target in words; empty where there is none."""
        parts = []
        if self.most_ratio is not None:
            parts.append(f"at most {self.most_ratio:g} times the floor")
        if self.most is not None:
            parts.append(f"at most {self.most:g} {self.unit}")
        if self.least is not None:
            parts.append(f"at least {self.least:g} {self.unit}")
        return " and ".join(parts)

    @property
    def share_of_target(self) -> float | None:
        """Share of the target that is used up; above 1 it is missed. None where there is no target."""
        shares = []
        if self.most_ratio is not None and self.ratio is not None:
            shares.append(self.ratio / self.most_ratio)
        if self.most is not None:
            shares.append(self.measured / self.most)
        if self.least is not None:
            shares.append(self.least / self.measured if self.measured else math.inf)
        return max(shares, default=None)

    @property
    def reached(self) -> bool | None:
        """True if the target is reached; None where there is none."""
        share = self.share_of_target
        return None if share is None else share <= 1

    def as_dict(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {**asdict(self), "ratio": self.ratio, "target": self.target, "reached": self.reached}


@dataclass(frozen=True)
class Bench:
    """Shared surroundings of the benchmarks.

    Attributes:
        quick: Whether to measure with little, in two minutes for everything.
        most: Contacts in the longest queue, and up to a million in a list.
        server: A database server with the durability that servers have by default.
        folder: For files; gone afterwards.
        say: Tells a person what is going on.
        costs: Seconds that benchmarks have measured and that others go on with, by name.
    """

    quick: bool
    most: int
    server: Server
    folder: Path
    say: Callable[[str], None]
    costs: dict[str, float] = field(default_factory=dict)


class Benchmark(Protocol):
    """Measures one thing."""

    __name__: str

    def __call__(self, bench: Bench) -> list[Row]:
        """Measures it and gives the lines of the table."""


class Stopwatch:
    """Takes the time of a block.

    Attributes:
        seconds: What the block took, or what had passed when ``stop`` was called.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = time.perf_counter()

    def stop(self) -> None:
        """Stops it before the end of the block."""
        if not self.seconds:
            self.seconds = time.perf_counter() - self._began


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Takes the time of a block."""
    watch = Stopwatch()
    yield watch
    watch.stop()


def median(figures: list[float]) -> float:
    """The median."""
    return statistics.median(figures)
