"""Plays many histories in a few processes, and tells in a table what came of them."""

import gc
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from threading import Semaphore

from rich.console import Console

from tests.simulation.faults import Fault
from tests.simulation.history import History, Outcome
from tests.simulation.judge.coverage import coverage_lines
from tests.simulation.machine.database import Database
from tests.simulation.plan import Plan
from tests.simulation.planning import plan_of
from tests.simulation.shrinking import Less, shrink
from tests.simulation.story import story

__all__ = ["Played", "play", "play_many", "play_one"]

_CHUNK = 10
_STORIES = 5
_database: list[Database] = []
_people = Console(soft_wrap=True, highlight=False)


@dataclass
class Played:
    """What came of some histories.

    Attributes:
        broken: What was broken, by seed.
        faults: How often what went wrong.
        edges: The ways that batches went, each with what happened to the process just then.
        effects: The commands of people, each with whether it found anything to do.
        seconds: Virtual seconds.
        processor_seconds: Seconds of a processor.
    """

    histories: int = 0
    broken: dict[int, str] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    edges: Counter[tuple[tuple[str, str], str]] = field(default_factory=Counter)
    effects: Counter[tuple[str, bool]] = field(default_factory=Counter)
    seconds: float = 0.0
    processor_seconds: float = 0.0

    def add(self, other: "Played") -> None:
        """Adds others."""
        self.histories += other.histories
        self.broken |= other.broken
        self.faults.update(other.faults)
        self.effects.update(other.effects)
        self.edges.update(other.edges)
        self.seconds += other.seconds
        self.processor_seconds += other.processor_seconds


def play(plan: Plan, told: tuple[Fault, ...] | None = None) -> Outcome:
    """Plays the history of a plan, with what is told to go wrong, or what its seed says."""
    return History(_ready_database(), plan, told).play()


def _ready_database() -> Database:
    if not _database:
        logging.disable(logging.CRITICAL)
        _database.append(Database())
    return _database[0]


def play_one(seed: int) -> Outcome:
    """Plays the history of a seed."""
    return play(plan_of(seed))


def play_many(
    seed: int | None, histories: int, *, seconds: float | None, processes: int, less: str | None = None
) -> int:
    """Plays histories, and prints what came of them.

    Args:
        seed: The first seed; a fresh one if there is none.
        histories: How many.
        seconds: After how long no more are begun, or None.
        processes: How many processes play.
        less: What is left of the one history, as a story ends with it, or None for all.

    Returns:
        The exit code: 1 where anything was broken.
    """
    # Two billion seeds: enough that no two runs meet, and short enough to be typed.
    first = int.from_bytes(os.urandom(4), "big") // 2 if seed is None else seed
    _say(f"seeds {first} to {first + histories - 1}{'' if seconds is None else f', for {seconds:g} s'}")
    if histories == 1:
        return _tell(first, less)
    began = time.monotonic()
    total = Played()
    for played in _in_processes(first, histories, processes, None if seconds is None else began + seconds):
        for one, what in sorted(played.broken.items()):
            _say(f"BROKEN by seed {one}: {what}")
        total.add(played)
    _print_table(total, time.monotonic() - began, processes)
    for one in sorted(total.broken)[:_STORIES]:
        _tell_shrunk(one)
    return 1 if total.broken else 0


def _in_processes(first: int, histories: int, processes: int, until: float | None) -> Iterator[Played]:
    # Made once, and had by each process; so is what the first history of a process loads and compiles.
    play_one(first)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)
    room = Semaphore(2 * processes)

    def chunks() -> Iterator[tuple[int, int, float | None]]:
        # No more of them than are played soon, or an hour's would all be made at once.
        for start in range(first, first + histories, _CHUNK):
            room.acquire()
            if until is not None and time.monotonic() > until:
                return
            yield start, min(_CHUNK, first + histories - start), until

    with get_context("fork").Pool(processes) as pool:
        for played in pool.imap(_play_chunk, chunks()):
            room.release()
            yield played


def _play_chunk(chunk: tuple[int, int, float | None]) -> Played:
    start, count, until = chunk
    played = Played()
    began = time.process_time()
    for seed in range(start, start + count):
        if until is not None and time.monotonic() > until:
            break
        outcome = play_one(seed)
        played.histories += 1
        played.seconds += outcome.seconds
        played.edges.update(outcome.edges)
        played.effects.update(outcome.effects)
        played.faults.update(fault.kind for fault in outcome.faults)
        if outcome.broken:
            played.broken[seed] = outcome.broken
    played.processor_seconds = time.process_time() - began
    return played


def _say(line: str) -> None:
    _people.print(line, markup=False)


def _tell(seed: int, less: str | None) -> int:
    plan = plan_of(seed)
    left = Less() if less is None else Less.of(less)
    outcome = play(left.applied(plan), left.faults)
    for at, who, what in outcome.trace:
        _say(f"{at:9.3f}  {who}: {what}")
    _say(f"digest {outcome.digest}")
    _say(f"BROKEN: {outcome.broken}" if outcome.broken else "all that is promised was kept")
    return 1 if outcome.broken else 0


def _tell_shrunk(seed: int) -> None:
    plan = plan_of(seed)
    less, outcome = shrink(plan, play_one(seed), play)
    for line in story(plan, less, outcome):
        _say(f"  {line}")


def _print_table(total: Played, seconds: float, processes: int) -> None:
    if not total.histories:
        _say("no history was played")
        return
    each = total.processor_seconds / total.histories
    _say(f"histories              {total.histories}")
    _say(f"broken                 {len(total.broken)}")
    _say(f"virtual time           {total.seconds / 3600:.1f} hours")
    _say(f"a minute               {60 * total.histories / seconds:.0f} with {processes} processes")
    _say(f"processor time         {1000 * each:.0f} ms a history")
    _say(f"ways of batches        {sum(total.edges.values())}")
    for kind, count in total.faults.most_common():
        _say(f"  {kind:<21}{count}")
    commands = {what for what, _ in total.effects}
    for what in sorted(commands):
        with_effect, without = total.effects[what, True], total.effects[what, False]
        _say(f"  {what:<21}{with_effect} with an effect, {without} without")
    for line in coverage_lines(total.edges):
        _say(line)
