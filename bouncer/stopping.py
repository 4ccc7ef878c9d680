"""Request to stop the process: sleepers wake up, and work under way has a moment to end.

All that waits anywhere asks here: between attempts, at the breaker, at the rate limits, for the database, and for an
answer. ``tasks.running.stopping`` turns signals into the wish to stop.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

from bouncer.errors import Stopped

__all__ = [
    "GRACE_SECONDS",
    "ask_to_stop",
    "cut_after_stop",
    "forget_stop",
    "grace_is_over",
    "is_stopping",
    "refuse_while_stopping",
    "sleep_unless_stopping",
    "stopping_with",
]

GRACE_SECONDS = 10.0
"""Seconds for which an answer or the database is still awaited after the request to stop: the process is to be gone
within 20 s."""

_SLICE_SECONDS = 0.25

_stopping = threading.Event()
_asked_at = 0.0
_given_up: ContextVar[threading.Event | None] = ContextVar("given_up", default=None)


def ask_to_stop() -> None:
    """Asks this process to stop; a signal handler may call it."""
    global _asked_at  # noqa: PLW0603  # a process is asked as a whole
    if not _stopping.is_set():
        _asked_at = time.monotonic()
        _stopping.set()


def forget_stop() -> None:
    """Lets the process go on: what was to stop has ended."""
    _stopping.clear()


def is_stopping() -> bool:
    """Tells whether this process was asked to stop."""
    return _stopping.is_set()


def grace_is_over() -> bool:
    """Tells whether this process was asked to stop so long ago that it awaits nothing any more."""
    return _stopping.is_set() and time.monotonic() - _asked_at > GRACE_SECONDS


def refuse_while_stopping() -> None:
    """Keeps anything new from being begun once the process was asked to stop.

    Raises:
        Stopped: It was.
    """
    if _stopping.is_set():
        raise Stopped("stopped on request; the batch goes on with the next run")


async def sleep_unless_stopping(seconds: float) -> None:
    """Sleeps, and wakes early when the process is asked to stop, or what this is a part of is given up.

    Raises:
        Stopped: It was woken.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    given_up = _given_up.get()
    while True:
        refuse_while_stopping()
        if given_up is not None and given_up.is_set():
            raise Stopped("another batch met an error that this one would meet too; it goes on with the next run")
        rest = end - loop.time()
        if rest <= 0:
            return
        await asyncio.sleep(min(rest, _SLICE_SECONDS))


@contextmanager
def stopping_with(given_up: threading.Event) -> Iterator[None]:
    """Lets the tasks that are made in this context end what they wait for once the event is set.

    Args:
        given_up: Set where it is pointless to go on.
    """
    token = _given_up.set(given_up)
    try:
        yield
    finally:
        _given_up.reset(token)


@asynccontextmanager
async def cut_after_stop(grace_seconds: float) -> AsyncIterator[None]:
    """Ends what is waited for in the block once the process was asked to stop.

    Args:
        grace_seconds: How much longer it may take then.

    Raises:
        TimeoutError: It was ended.
    """
    async with asyncio.timeout(None) as limit:
        watching = asyncio.create_task(_watch(limit, grace_seconds))
        try:
            yield
        finally:
            watching.cancel()


async def _watch(limit: asyncio.Timeout, grace_seconds: float) -> None:
    while not _stopping.is_set():  # noqa: ASYNC110  # a signal handler cannot set an event of the loop's
        await asyncio.sleep(_SLICE_SECONDS)
    limit.reschedule(asyncio.get_running_loop().time() + grace_seconds)
