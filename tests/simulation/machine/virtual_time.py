"""Virtual time: an event loop that jumps to the next moment at which anything happens, and clocks that follow it."""

import asyncio
import math
import os
import random
import time
from asyncio import base_events
from collections.abc import Callable, Coroutine
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from tests.simulation.machine import processes

__all__ = ["EPOCH", "Deadlock", "VirtualLoop", "epoch_second", "install", "moment"]

_Return = TypeVar("_Return")

EPOCH = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
_EPOCH_SECOND = EPOCH.timestamp()

_real_monotonic = time.monotonic
_real_sleep = time.sleep
_real_urandom = os.urandom
_present: list["VirtualLoop"] = []


class Deadlock(Exception):
    """Nobody waits for anything that will ever happen."""


class VirtualLoop(base_events.BaseEventLoop):
    """An event loop without sockets, threads and waiting.

    Args:
        seed: Of the order in which what the database does for several tasks comes back.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.now = 0.0
        self._selector = self
        self._clock_resolution = 1e-6
        self._latencies = random.Random(f"latencies {seed}")
        self.bytes = random.Random(f"bytes {seed}")
        self.stalls = 0.0

    def select(self, timeout: float | None) -> list[object]:
        """Jumps to the next moment."""
        if timeout is None:
            raise Deadlock
        self.now += max(0.0, timeout)
        return []

    def time(self) -> float:
        """Seconds since the world began."""
        return self.now

    def run_in_executor(  # type: ignore[override]  # there is no executor
        self, _executor: object, func: Callable[..., _Return], *args: Any
    ) -> "asyncio.Future[_Return]":
        """Does the work of a thread at once; what it returns comes back a moment later."""
        processes.die_if_dead()
        future: asyncio.Future[_Return] = self.create_future()
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the caller's
            self._later(_fail, future, error)
        else:
            self._later(_fulfil, future, result)
        return future

    def create_task(  # type: ignore[override]  # coroutines alone become tasks here
        self, coro: Coroutine[Any, Any, _Return], *, name: str | None = None, context: Context | None = None
    ) -> "asyncio.Task[_Return]":
        """Makes a task that belongs to the process of whoever makes it."""
        task: asyncio.Task[_Return] = super().create_task(coro, name=name, context=context)
        processes.own(task, context)
        return task

    def call_soon(  # type: ignore[override]  # what a task calls is not typed
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Lets a callback run next, or when its process thaws."""
        process = processes.current() if context is None else processes.of(context)
        if process is not None and process.frozen_until > 0:
            handle = asyncio.Handle(callback, args, self, context)
            process.parked.append(handle)
            return handle
        return super().call_soon(callback, *args, context=context)

    def stall(self, seconds: float) -> None:
        """Lets time pass in which nothing else happens, as for a thread that sleeps."""
        self.now += seconds
        self.stalls += seconds

    def _later(self, call: Callable[..., None], future: "asyncio.Future[_Return]", outcome: object) -> None:
        # Mostly soon; now and then the database is slow.
        slow = self._latencies.random() < 0.01
        seconds = self._latencies.uniform(0.2, 3.0) if slow else self._latencies.uniform(0.001, 0.02)
        self.call_later(seconds, call, future, outcome)

    def _process_events(self, event_list: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def __enter__(self) -> "VirtualLoop":
        _present.append(self)
        asyncio.set_event_loop(self)
        return self

    def __exit__(self, *_: object) -> None:
        _present.remove(self)
        asyncio.set_event_loop(None)
        self.close()


def moment(skew: float = 0.0) -> datetime:
    """The present moment in UTC, by a clock that is so many seconds wrong."""
    return EPOCH + timedelta(seconds=_present[-1].now + skew)


def epoch_second(skew: float = 0.0) -> int:
    """The second since 1970 that the present moment lies in, by a clock that is so many seconds wrong."""
    return math.floor(_EPOCH_SECOND + _present[-1].now + skew)


def install() -> None:
    """Makes the clocks, the sleeps and the system's randomness of this process those of the loop that runs, if any."""
    time.monotonic = _monotonic
    time.sleep = _sleep  # type: ignore[assignment]  # floats alone are slept
    os.urandom = _urandom
    random._urandom = _urandom  # type: ignore[attr-defined]  # where SystemRandom takes it from


def _monotonic() -> float:
    return 1e6 + _present[-1].now if _present else _real_monotonic()


def _sleep(seconds: float) -> None:
    if _present:
        _present[-1].stall(seconds)
    else:
        _real_sleep(seconds)


def _urandom(size: int) -> bytes:
    return _present[-1].bytes.randbytes(size) if _present else _real_urandom(size)


def _fulfil(future: "asyncio.Future[Any]", result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
