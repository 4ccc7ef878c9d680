"""Waiting for a state, never for a time."""

import time
from collections.abc import Callable

__all__ = ["wait_until"]


def wait_until(reached: Callable[[], bool], what: str, seconds: float = 180) -> None:
    """Looks until something is so.

    Args:
        reached: Whether it is.
        what: What it is, for people.
        seconds: After which it will not come any more.

    Raises:
        TimeoutError: It did not come.
    """
    end = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.05)
