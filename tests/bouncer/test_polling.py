"""Polls are few, keep to their bounds, and come soon after a batch is done."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, insert

from bouncer.database import read, write
from bouncer.polling import seconds_an_address, seconds_to_next_poll
from bouncer.tables import Batch
from tests.bouncer.contacts import ACCOUNT, batch_rows, new_request, set_back, small_batches, verify


def _wait(**changes: Any) -> float:
    facts: dict[str, Any] = {
        "elapsed": 0.0,
        "processed": 0,
        "quantity": 10_000,
        "expected": None,
        "shortest": 10,
        "longest": 30,
    }
    return seconds_to_next_poll(**(facts | changes))


@pytest.mark.parametrize(
    ("facts", "wait"),
    [
        ({}, 10),
        ({"expected": 20}, 20.9),
        ({"expected": 20, "elapsed": 15}, 10),
        ({"expected": 20, "elapsed": 500}, 10),
        ({"expected": 300}, 30),
        ({"expected": 38}, 19.63),
        ({"elapsed": 100, "processed": 5_000}, 30),
        ({"elapsed": 100, "processed": 8_000}, 26),
        ({"elapsed": 100, "processed": 8_000, "expected": 1_000}, 26),
        ({"elapsed": 100, "processed": 9_999}, 10),
        ({"elapsed": 100, "processed": 12_000}, 10),
        ({"elapsed": 0, "processed": 5_000, "expected": 20}, 20.9),
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
    """Whatever is known, the wait is from POLL_SECONDS_MIN to POLL_SECONDS_MAX."""
    wait = _wait(
        elapsed=elapsed,
        processed=processed,
        quantity=quantity,
        expected=expected,
        shortest=shortest,
        longest=shortest + longer,
    )
    assert shortest <= wait <= shortest + longer


@given(seconds=st.floats(1, 3_600), share=st.floats(0.01, 0.99))
def test_a_steady_batch_is_found_done_soon(seconds: float, share: float) -> None:
    """Of a batch that goes on at one speed, the last wait ends within a tenth of its time, or the shortest wait."""
    elapsed, polls = seconds * share, 0
    while elapsed < seconds:
        elapsed += _wait(elapsed=elapsed, processed=round(1e9 * elapsed / seconds), quantity=10**9)
        polls += 1
    assert elapsed - seconds <= max(10, seconds / 10)
    assert polls <= seconds / 10 + 1


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
