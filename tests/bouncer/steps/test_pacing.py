"""Polls are few, keep to their bounds, and come soon after a batch is done."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, select, update

from bouncer.batches.batches_in_flight import queue_ahead
from bouncer.batches.transitions import record_verified
from bouncer.steps.pacing import Pace, seconds_an_address, seconds_to_next_look_at_queue
from bouncer.storage.dialects import age_seconds
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch, BatchStatus
from tests.bouncer.contacts import ACCOUNT, batch_rows, new_request, set_back, small_batches, upload, verify

_SHORTEST, _LONGEST = 10.0, 30.0


def _wait(
    *,
    elapsed: float = 0.0,
    processed: int = 0,
    quantity: int = 10_000,
    expected: float | None = None,
    shortest: float = _SHORTEST,
    longest: float = _LONGEST,
) -> float:
    """The wait after one poll."""
    pace = Pace(quantity, expected)
    pace.note(elapsed, processed)
    return pace.seconds_to_next_poll(elapsed, shortest=shortest, longest=longest)


def _watch(seconds: float, done: Callable[[float], float], quantity: int = 10**9) -> tuple[float, int]:
    """Polls a batch of so many seconds, of which the given share is done at each share of them, until it is found done.

    Returns:
        How many seconds late that is, and how many polls it took.
    """
    pace, elapsed, polls = Pace(quantity, None), _SHORTEST, 1
    while elapsed < seconds:
        pace.note(elapsed, int(quantity * done(elapsed / seconds)))
        elapsed += pace.seconds_to_next_poll(elapsed, shortest=_SHORTEST, longest=_LONGEST)
        polls += 1
    return elapsed - seconds, polls


@pytest.mark.parametrize(
    ("facts", "wait"),
    [
        ({}, 10),
        ({"expected": 20}, 21.4),
        ({"expected": 20, "elapsed": 15}, 21.4),
        ({"expected": 20, "elapsed": 500}, 21.4),
        ({"expected": 300}, 100),
        ({"expected": 38}, 19.88),
        ({"elapsed": 100, "processed": 5_000}, 100 / 3),
        ({"elapsed": 100, "processed": 8_000}, 27.25),
        ({"elapsed": 100, "processed": 8_000, "expected": 1_000}, 27.25),
        ({"elapsed": 100, "processed": 9_999}, 10),
        ({"elapsed": 100, "processed": 12_000}, 10),
        ({"elapsed": 0, "processed": 5_000, "expected": 20}, 21.4),
        ({"shortest": 0.1, "longest": 0.1}, 0.1),
    ],
    ids=str,
)
def test_when_to_ask_next(facts: dict[str, Any], wait: float) -> None:
    """The next poll is just after the predicted end if that is near, and at once about every half minute if not."""
    assert _wait(**facts) == pytest.approx(wait, abs=0.01)


@given(
    elapsed=st.floats(0, 1e6),
    processed=st.integers(0, 200_000),
    quantity=st.integers(1, 100_000),
    expected=st.none() | st.floats(0, 1e6),
    shortest=st.floats(0.01, 60),
    longer=st.floats(0, 60),
)
def test_never_beyond_the_bounds(
    elapsed: float, processed: int, quantity: int, expected: float | None, shortest: float, longer: float
) -> None:
    """The wait is at least POLL_SECONDS_MIN; beyond POLL_SECONDS_MAX it is at most a third of the way to the end."""
    longest = shortest + longer
    wait = _wait(
        elapsed=elapsed,
        processed=processed,
        quantity=quantity,
        expected=expected,
        shortest=shortest,
        longest=longest,
    )
    ends = [expected or 0.0, (quantity - processed) * elapsed / processed if processed else 0.0]
    assert shortest <= wait <= max(longest, *(end / 3 + 0.001 for end in ends))


@given(seconds=st.floats(1, 3_600))
def test_a_steady_batch_is_found_done_soon(seconds: float) -> None:
    """A batch that goes on at one speed is found done within 2.5 s or the shortest wait, by few polls."""
    late, polls = _watch(seconds, lambda share: share)
    assert late <= (2.5 if seconds > 2 * _SHORTEST else _SHORTEST)
    assert polls <= seconds / _LONGEST + 4


@pytest.mark.parametrize(("seconds", "looks"), [(60, 3), (360, 10), (3_600, 19)])
def test_a_long_batch_costs_few_looks(seconds: int, looks: int) -> None:
    """An hour-long batch once cost 123 requests, one each half minute."""
    _, polls = _watch(seconds, lambda share: share)
    assert abs(polls - looks) <= 1


_COURSES: dict[str, Callable[[float], float]] = {
    "waits in Bouncer's queue at first": lambda share: max(0, (share - 0.3) / 0.7),
    "waits there for most of its time": lambda share: max(0, (share - 0.6) / 0.4),
    "is three times as fast in the end": lambda share: share * 4 / 7 if share < 0.7 else 0.4 + (share - 0.7) * 2,
    "gets faster all the time": lambda share: share**2,
    "gets slower": lambda share: share * 2 if share < 0.3 else 0.6 + (share - 0.3) * 4 / 7,
}


@pytest.mark.parametrize("course", _COURSES)
def test_an_unsteady_batch_is_found_done_soon(course: str) -> None:
    """Whoever was late because of time in Bouncer's queue, or because it speeds up, once waited twice as long."""
    lates = [_watch(seconds, _COURSES[course], quantity=10_000)[0] for seconds in range(120, 3_600, 7)]
    # Only what speeds up all of a sudden, against all that was seen, is found done a minute and a half later.
    assert max(lates) <= (100 if "three times" in course else _SHORTEST)


@pytest.mark.parametrize("turn", [0, 360, 720, 1_440, 7_200], ids="{:,} s queued".format)
def test_a_batch_at_documented_speed_costs_ten_looks_wherever_it_waits(turn: float) -> None:
    """With upload and download that is twelve requests for 10,000 addresses in six minutes, one batch after another."""
    run, looks = 360.0, 0
    elapsed, pace, running = 0.0, Pace(10_000, run), False
    wait = seconds_to_next_look_at_queue(0, turn, run, shortest=_SHORTEST, longest=_LONGEST)
    while (elapsed := elapsed + wait) < turn + run:
        looks += 1
        if elapsed < turn:
            wait = seconds_to_next_look_at_queue(elapsed, turn, run, shortest=_SHORTEST, longest=_LONGEST)
            continue
        if not running:
            running = True
            pace.begin(turn)
        pace.note(elapsed, int(10_000 * (elapsed - turn) / run))
        wait = pace.seconds_to_next_poll(elapsed, shortest=_SHORTEST, longest=_LONGEST)
    # Two hours in the queue cost two looks more.
    assert looks + 1 <= (10 if turn <= 1_440 else 12)
    assert elapsed - turn - run <= 30


def test_a_batch_that_bouncer_may_begin_with_at_once_is_looked_at_again_soon() -> None:
    """One that was picked up a moment after the first look was next looked at when half of its time had passed."""
    elapsed, looks = 0.0, []
    while elapsed < 360:
        elapsed += seconds_to_next_look_at_queue(
            elapsed, 720, 360, shortest=_SHORTEST, longest=_LONGEST, may_begin_at_once=True
        )
        looks.append(elapsed)
    assert looks == [10, 20, 550]


def test_a_batch_that_keeps_others_from_being_sent_is_looked_at_early() -> None:
    """A new account's first three batches kept twelve places empty for ten seconds, and the next five as long again."""
    elapsed, looks = 0.0, []
    while elapsed < 30:
        elapsed += seconds_to_next_look_at_queue(
            elapsed, 720, 360, shortest=_SHORTEST, longest=_LONGEST, may_begin_at_once=True, early=True
        )
        looks.append(elapsed)
    assert looks == [2, 15, 15 + (720 + 360 - 15) / 2]


def test_a_batch_whose_turn_does_not_come_is_looked_at_every_few_minutes() -> None:
    """With a list of somebody else's ahead nobody knows when the turn comes, and asking more often changes nothing."""
    elapsed = looks = 0
    while elapsed < 24 * 3_600:
        elapsed += seconds_to_next_look_at_queue(elapsed, 0, 360, shortest=_SHORTEST, longest=_LONGEST)
        looks += 1
    assert looks <= 24 * 3_600 / 180 + 20


def test_a_batch_that_stands_still_is_asked_for_seldom() -> None:
    """A batch that makes no progress for long costs a request each longest wait, not each shortest."""
    pace = Pace(10_000, None)
    pace.note(10, 4_000)
    pace.note(20, 8_000)
    assert pace.seconds_to_next_poll(100, shortest=_SHORTEST, longest=_LONGEST) == _LONGEST


def test_a_new_run_goes_on_with_what_the_last_one_saw() -> None:
    """A run that takes over a batch knows its speed before the first poll of its own."""
    pace = Pace(10_000, None, processed=8_000, at=100)
    assert pace.seconds_to_next_poll(100, shortest=_SHORTEST, longest=_LONGEST) == pytest.approx(27.25)


def test_nothing_was_verified_yet(engine: Engine) -> None:
    """Without any batch, or with such as do not tell their times, nothing is expected."""
    assert read(engine, seconds_an_address, ACCOUNT) is None
    (batch,) = small_batches(engine, 1)
    verify(engine, batch)
    assert read(engine, seconds_an_address, ACCOUNT) is None


def test_the_pace_of_earlier_batches(engine: Engine) -> None:
    """What an address takes is told by completed batches, and not by those that were ended early or tell no times."""
    request = new_request(engine)
    for quantity, seconds, changes in (
        (100, 50, {}),
        (300, 250, {}),
        (1_000, 1, {"account": "deep"}),
        (1_000, 1, {"status": "failed"}),
        (1_000, 1, {"finish_requested_ts": True}),
        (1_000, 1, {"uploaded_ts": None}),
        (1_000, 1, {"verified_ts": None}),
    ):
        _completed(engine, request, quantity, seconds, changes)
    assert read(engine, seconds_an_address, ACCOUNT) == pytest.approx(300 / 400, abs=0.02)


def test_a_batch_that_nobody_looked_at_for_an_hour_was_not_an_hour_slower(engine: Engine) -> None:
    """After an outage of ours the pace seemed ten times as slow, and later batches were looked at half a day late."""
    (number,) = small_batches(engine, 1)
    work = upload(engine, number)
    set_back(engine, Batch.uploaded_ts, 4_000, Batch.id == number)
    span = timedelta(seconds=360)
    write(engine, record_verified, work, None, None, timedelta(), span)
    write(engine, lambda c: c.execute(update(Batch).values(status=BatchStatus.COMPLETED)))
    for pace in (read(engine, queue_ahead, ACCOUNT).seconds_an_address, read(engine, seconds_an_address, ACCOUNT)):
        assert pace == pytest.approx(360 / work.quantity, rel=0.01)


def test_a_span_that_makes_no_sense_by_our_clock_ends_now(engine: Engine) -> None:
    """Bouncer's clock may be anything: a batch is verified neither in the future nor before its upload."""
    for number, (span, age) in zip(
        small_batches(engine, 2), ((timedelta(hours=9), 0), (timedelta(hours=-9), 4_000)), strict=True
    ):
        work = upload(engine, number)
        set_back(engine, Batch.uploaded_ts, 4_000, Batch.id == number)
        write(engine, record_verified, work, None, None, None, span)
        verified = select(age_seconds(Batch.verified_ts)).where(Batch.id == number)
        assert read(engine, lambda c, verified=verified: c.scalar(verified)) == pytest.approx(age, abs=5)


def test_batches_of_the_plans_own_program_tell_no_pace(engine: Engine) -> None:
    """A database with nothing but batches from before is no error."""
    _completed(engine, new_request(engine), 100, 50, {"uploaded_ts": None})
    assert read(engine, seconds_an_address, ACCOUNT) is None


def _completed(engine: Engine, request: int, quantity: int, seconds: int, changes: dict[str, Any]) -> None:
    moments = {"uploaded_ts": 1_000 + seconds, "verified_ts": 1_000} | changes
    row = {"user_id": 1, "request_id": request, "quantity": quantity, "status": "completed"}
    values = {name: value for name, value in changes.items() if not name.endswith("_ts")}
    write(engine, lambda c: c.execute(insert(Batch).values(row | values)))
    made = batch_rows(engine)[-1].id
    for name, age in moments.items():
        if name.endswith("_ts") and age is not None:
            set_back(engine, getattr(Batch, name), int(age), Batch.id == made)
