"""Plays scenarios, on as many sites at once as it is told, and tells what came out."""

import collections
import contextlib
import random
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.chaos.invariants import Outcome, measure
from tests.chaos.scenarios import Scenario
from tests.chaos.site import Site, open_site

__all__ = ["play", "play_all"]

_WENT_TO_THE_END = {0, 1}


def play(site: Site, scenario: Scenario, seed: int) -> Outcome:
    """Plays one scenario, then a plain restart if anything is left, and measures what must hold.

    Args:
        site: Free for it.
        scenario: What goes wrong.
        seed: Decides how and when.
    """
    began = time.monotonic()
    site.begin(f"{seed}-{''.join(c if c.isalnum() else '-' for c in scenario.name)}")
    try:
        expected = scenario.play(site, random.Random(f"{scenario.name} {seed}"))
        _restart(site)
        return measure(site, scenario.name, seed, expected, time.monotonic() - began)
    except Exception as error:  # noqa: BLE001  # whatever goes wrong is what a scenario is there to find
        place = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
        return Outcome(scenario.name, seed, seconds=time.monotonic() - began, problems=(said,))
    finally:
        site.end()


def _restart(site: Site) -> None:
    # The fault is over. What comes now is all that a person does: the same command again.
    site.sandbox.clear_faults()
    if not site.runs or not all(run.code in _WENT_TO_THE_END for run in site.runs):
        site.restart()


def play_all(
    wanted: Iterable[tuple[Scenario, int]], *, sites: int, folder: Path, told: Callable[[Outcome], None]
) -> list[Outcome]:
    """Plays scenarios with their seeds.

    Args:
        wanted: What to play.
        sites: How many at once.
        folder: For the files of all sites.
        told: Called with each outcome as it comes, from any thread.

    Returns:
        The outcomes, in the order of their coming.
    """
    waiting = collections.deque(wanted)
    outcomes: list[Outcome] = []

    def work(number: int) -> None:
        own = folder / f"site-{number}"
        own.mkdir()
        with open_site(own) as site:
            while waiting:
                with contextlib.suppress(IndexError):
                    outcomes.append(play(site, *waiting.popleft()))
                    told(outcomes[-1])

    with ThreadPoolExecutor(sites, thread_name_prefix="site") as pool:
        try:
            for worker in [pool.submit(work, number) for number in range(sites)]:
                worker.result()
        finally:
            # Where a site breaks, or a person has had enough, the others end after what they are at.
            waiting.clear()
    return outcomes
