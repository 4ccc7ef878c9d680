"""Work that is prepared while other work is still going on."""

import threading
from collections.abc import Callable
from functools import partial

import pytest

from bouncer.prefetching import in_order

_WAIT_SECONDS = 30


def test_what_comes_first_is_handed_over_first() -> None:
    """A call that ends before the one ahead of it waits for it."""
    second_ended = threading.Event()

    def first() -> int:
        assert second_ended.wait(_WAIT_SECONDS)
        return 1

    def second() -> int:
        second_ended.set()
        return 2

    assert list(in_order([first, second, lambda: 3], 2)) == [1, 2, 3]


def test_no_more_calls_run_than_are_allowed() -> None:
    """The third call begins once the first has been handed over."""
    begun: list[int] = []

    def call(number: int) -> int:
        begun.append(number)
        return number

    numbers = in_order((partial(call, number) for number in range(4)), 2)
    assert next(numbers) == 0
    assert 2 not in begun
    assert list(numbers) == [1, 2, 3]


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_an_error_comes_where_it_occurred(at_once: int) -> None:
    """Results from before an error are handed over, and nothing that comes after it."""

    def fails() -> int:
        raise ValueError("the second call failed")

    calls: list[Callable[[], int]] = [lambda: 1, fails, lambda: 3]
    found = in_order(calls, at_once)
    assert next(found) == 1
    with pytest.raises(ValueError, match="the second call failed"):
        next(found)
    assert list(found) == []
