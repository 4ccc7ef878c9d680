"""Plays scenarios, on as many sites at once as it is told, and tells what came out."""

import queue
import random
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.chaos.invariants import Outcome, measure
from tests.chaos.scenarios import Scenario
from tests.chaos.site import Site, Unexpected, open_site

__all__ = ["play", "play_all"]


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
        site.sandbox.clear_faults()
        code = site.runs[-1].code if all(run.code in {0, 1} for run in site.runs) else site.restart()
        outcome = measure(site, scenario.name, seed, expected, time.monotonic() - began)
        if code != (2 if outcome.held else 1 if expected.failed != 0 and site.failed() else 0):
            raise Unexpected(f"exit code {code} at the end; it said: {site.runs[-1].log[-600:]}")
    except Exception as error:  # noqa: BLE001  # whatever goes wrong is what a scenario is there to find
        said = f"{type(error).__name__}: {error}"
        place = traceback.extract_tb(error.__traceback__)[-1]
        outcome = Outcome(scenario.name, seed, problems=(f"{said} ({Path(place.filename).name}:{place.lineno})",))
    finally:
        site.end()
    return outcome


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
    waiting: queue.SimpleQueue[tuple[Scenario, int]] = queue.SimpleQueue()
    for one in wanted:
        waiting.put(one)
    outcomes: list[Outcome] = []

    def work(number: int) -> None:
        own = Path(tempfile.mkdtemp(prefix=f"site-{number}-", dir=folder))
        with open_site(own) as site:
            while True:
                try:
                    scenario, seed = waiting.get_nowait()
                except queue.Empty:
                    return
                outcome = play(site, scenario, seed)
                outcomes.append(outcome)
                told(outcome)

    workers = [threading.Thread(target=work, args=(number,), name=f"site-{number}") for number in range(sites)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return outcomes
