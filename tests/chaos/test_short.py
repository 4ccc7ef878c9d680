"""The short form of the chaos tests: the deaths that cost most if they went wrong."""

import pathlib

import pytest

from tests.chaos.processes import prepare_forks
from tests.chaos.runner import play_all
from tests.chaos.scenarios import all_scenarios

pytestmark = [pytest.mark.chaos, pytest.mark.scenario, pytest.mark.long]

_NAMES = [
    "kill -9 between the answer and the commit",
    "kill -9 at every step at once",
    "the Prefect server dies while batches are polled",
    "MariaDB dies in a load",
]


# The scenarios' own MariaDB servers need the same programs as the shared one, which says what is missing.
@pytest.mark.usefixtures("mariadb")
@pytest.mark.timeout(400)
def test_nothing_is_lost_and_nothing_paid_twice_whatever_dies(tmp_path: pathlib.Path) -> None:
    """After any death a plain restart settles every contact, none is paid for twice, and all limits held."""
    prepare_forks("pytest")
    wanted = [(scenario, 1) for scenario in all_scenarios() if scenario.name in _NAMES]
    outcomes = play_all(wanted, sites=3, folder=tmp_path, told=lambda _: None)
    assert {outcome.scenario: outcome.problems for outcome in outcomes} == dict.fromkeys(_NAMES, ())
