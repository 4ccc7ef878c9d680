"""Not filling Bouncer's queue costs no throughput, few looks find each batch done, and an outage costs what is said."""

import pytest

from bench.queue_simulation import Bouncer, course_of
from bench.rows.queueing import MILLION, MODES, MOST_REQUESTS
from bouncer.batches.batches_in_flight import Places

_FILLED, _AHEAD = Places(15, 0), Places(15, 15 * 60)
_HOUR = 3600.0


@pytest.mark.parametrize("mode", MODES)
def test_a_million_contacts_are_as_quick_as_with_fifteen_in_flight(mode: str) -> None:
    """Within two percent, whether Bouncer serves one batch after another or fifteen side by side."""
    filled, ahead = (course_of(MILLION, places, MODES[mode]) for places in (_FILLED, _AHEAD))
    assert ahead.seconds <= 1.02 * filled.seconds
    assert max(ahead.waits) <= 15 * 60
    # Those 15 minutes, and the batch that runs.
    assert ahead.urgent_seconds <= 15 * 60 + MODES[mode].seconds
    assert ahead.requests <= MOST_REQUESTS + 1e-9
    assert ahead.late_seconds <= 30


@pytest.mark.parametrize("parallel", [1, 2, 4, 15])
@pytest.mark.parametrize("seconds", [20.0, 60.0, 360.0])
def test_an_account_fills_its_places_however_quick_its_batches_are(seconds: float, parallel: int) -> None:
    """Batches that were done before anybody saw them run left an account that is served side by side half idle."""
    bouncer = Bouncer(parallel, seconds, pick_up_seconds=2.0)
    filled, ahead = (course_of(200, places, bouncer) for places in (_FILLED, Places(15, 2.5 * seconds)))
    # Once, at the beginning, nobody knows that they run side by side.
    assert ahead.seconds <= 1.02 * filled.seconds + 40


@pytest.mark.parametrize("parallel", [2, 4, 8])
def test_however_many_run_side_by_side_each_is_found_done_soon(parallel: int) -> None:
    """With four at a time, some were found done three hours late: each late look made the pace look slower."""
    for places in (_FILLED, _AHEAD):
        course = course_of(60, places, Bouncer(parallel))
        assert course.late_seconds <= 45
        assert course.idle_seconds <= 0.05 * parallel * course.seconds


def test_an_outage_of_ours_makes_no_batch_look_slow() -> None:
    """After an hour in which nothing ran here, batches that had long been done were looked at half a day later."""
    outage = (_HOUR, 2 * _HOUR)
    filled, ahead = (course_of(40, places, Bouncer(), outage) for places in (_FILLED, _AHEAD))
    best = 40 * Bouncer().seconds
    assert filled.seconds <= best + 60
    # What docs/scaling.md says: of the hour, Bouncer idles for what was not queued there.
    assert 40 * 60 <= ahead.seconds - best <= 45 * 60 + 5
    assert filled.late_seconds <= _HOUR
    assert ahead.late_seconds <= _HOUR


def test_uploads_wait_no_longer_than_was_asked_for_but_for_the_one_that_is_always_queued() -> None:
    """A batch of 30 minutes cannot be queued for 15: one waits for the one that runs, and no more do."""
    course = course_of(20, _AHEAD, Bouncer(1, 30 * 60))
    # Of the first ones nobody knew how slow they would be.
    assert max(course.waits[4:]) <= 30 * 60 + 1
    assert course.idle_seconds <= 1
