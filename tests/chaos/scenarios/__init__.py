"""What goes wrong, one module a kind."""

from tests.chaos.scenarios import answers, kills, outages, pairs, stops
from tests.chaos.scenarios.registry import Scenario, all_scenarios

__all__ = ["Scenario", "all_scenarios", "answers", "kills", "outages", "pairs", "stops"]
