"""What goes wrong, one module a kind."""

from tests.chaos.scenarios import answers, ceilings, kills, outages, pairs, queued, stops, workers
from tests.chaos.scenarios.registry import Scenario, all_scenarios

__all__ = [
    "Scenario",
    "all_scenarios",
    "answers",
    "ceilings",
    "kills",
    "outages",
    "pairs",
    "queued",
    "stops",
    "workers",
]
