"""A graceful stop: nothing new is begun, what is being written ends, the rest is left for the next run."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from bouncer.process_end import end_at_once
from bouncer.stopping import ask_to_stop, forget_stop, is_stopping, sleep_unless_stopping, stopping_with

__all__ = ["graceful_run", "graceful_signals", "is_stopping", "sleep_unless_stopping", "stopping_with"]

_Handler = Callable[[int, FrameType | None], object] | int | None


class _Handlers:
    # The handlers that were there before ours, and how many blocks want ours.

    def __init__(self) -> None:
        self._before: dict[int, _Handler] = {}
        self._wanted = 0

    def put(self) -> None:
        if self._wanted == 0:
            self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self._wanted += 1
        # Where the process is to stop already, the next signal is to end it.
        if not is_stopping():
            for number in self._before:
                signal.signal(number, self._stop)

    def take_away(self) -> None:
        self._wanted -= 1
        if self._wanted == 0:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            forget_stop()

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        ask_to_stop()
        signal.signal(number, self._before[number])


_handlers = _Handlers()


@contextmanager
def graceful_signals() -> Iterator[None]:
    """Turns SIGINT and SIGTERM into a graceful stop; a second one of either ends the process as usual.

    May be entered again within, in any order: Prefect puts its own handler of SIGTERM, which raises in the middle of
    whatever is being done, in the place of ours at the beginning of every subflow.
    """
    _handlers.put()
    try:
        yield
    finally:
        _handlers.take_away()


@contextmanager
def graceful_run() -> Iterator[None]:
    """Stops a flow run gracefully that a worker or ``serve`` has started: in the main thread of a process of its own.

    The process ends at once then. In any other thread signals are not heard; the command line hears them for its flows.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    end_at_once()
    with graceful_signals():
        yield
