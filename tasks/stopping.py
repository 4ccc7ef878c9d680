"""A graceful stop: nothing new is begun, what is being written ends, the rest is left for the next run."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

from bouncer.errors import Stopped

__all__ = ["graceful_signals", "is_stopping", "sleep_unless_stopping", "stopping_with"]

_stopping = threading.Event()
_given_up: ContextVar[threading.Event | None] = ContextVar("given_up", default=None)
_SLICE_SECONDS = 0.25


def is_stopping() -> bool:
    """Whether this process was asked to stop."""
    return _stopping.is_set()


async def sleep_unless_stopping(seconds: float) -> None:
    """Sleeps, and wakes early when the process is asked to stop, or what this is a part of is given up.

    Raises:
        Stopped: It was woken.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    given_up = _given_up.get()
    while not _stopping.is_set():
        if given_up is not None and given_up.is_set():
            raise Stopped("another batch met an error that this one would meet too; it goes on with the next run")
        rest = end - loop.time()
        if rest <= 0:
            return
        await asyncio.sleep(min(rest, _SLICE_SECONDS))
    raise Stopped("stopped on request; the batch goes on with the next run")


@contextmanager
def stopping_with(given_up: threading.Event) -> Iterator[None]:
    """Lets the tasks that are made in this context end what they wait for once the event is set.

    Args:
        given_up: Set where it is senseless to go on.
    """
    token = _given_up.set(given_up)
    try:
        yield
    finally:
        _given_up.reset(token)


@contextmanager
def graceful_signals() -> Iterator[None]:
    """Turns SIGINT and SIGTERM into a graceful stop; a second one of either ends the process as usual."""

    def stop(number: int, _frame: FrameType | None) -> None:
        _stopping.set()
        signal.signal(number, previous[signal.Signals(number)])

    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in previous:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _stopping.clear()
