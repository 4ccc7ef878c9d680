"""The simulation counts what an hour-long batch really costs, and can fail."""

from dataclasses import replace

import pytest

from bench.rows.simulating import Costs, requests_of_batch, simulate

_COSTS = Costs(claim=0.3, load=0.5, ingest=1.2, server=0.4, look=0.02, look_on_server=0.02)


@pytest.mark.parametrize(("seconds", "requests"), [(10, 3), (30, 4), (60, 5), (360, 9), (600, 10), (3_600, 15)])
def test_a_longer_batch_takes_more_looks(seconds: float, requests: int) -> None:
    """The simulation had five requests for each batch, however long it takes at Bouncer."""
    assert requests_of_batch(seconds) == requests


def test_hour_long_batches_cost_few_requests() -> None:
    """What the documentation says of the requests of one account."""
    assert simulate(10_000_000, 1, _COSTS).requests_a_minute == pytest.approx(3.7, rel=0.05)


def test_claims_that_take_too_long_show() -> None:
    """Claims run one at a time: with a hundred accounts they must be done in 2.4 s, or Bouncer waits for them."""
    good = simulate(100_000_000, 100, _COSTS)
    assert good.hours < 1.1 * good.best
    assert simulate(100_000_000, 100, replace(_COSTS, claim=3)).hours > 1.1 * good.best
    assert simulate(100_000_000, 100, replace(_COSTS, load=6)).hours > 1.1 * good.best
