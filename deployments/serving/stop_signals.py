"""Ends what runs until it is stopped, at SIGINT or SIGTERM, whatever it is doing when one of them comes."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deployments.terminal.console import say

__all__ = ["stop_signals"]

_ENDS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_signals() -> Iterator[Callable[[], None]]:
    """Leaves the block at the first SIGINT or SIGTERM, by cancelling the task; a second one ends the process as usual.

    The event loop hears them. What Python's own handler raises can be lost: an exception that comes while an object is
    cleaned up is not passed on (https://docs.python.org/3/library/signal.html#note-on-signal-handlers-and-exceptions).
    A signal that whoever started this process wants it to ignore, as shells do behind ``&``, stays ignored.

    Yields:
        What takes the signals again, where somebody else has taken them meanwhile.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    ends = [number for number in _ENDS if signal.getsignal(number) != signal.SIG_IGN]
    came = False

    def give_back() -> None:
        for number in ends:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.default_int_handler)

    def stop() -> None:
        nonlocal came
        came = True
        give_back()
        if task is not None:
            task.cancel()
        # Where the Prefect server is away, the end takes a minute.
        say("stopping; Ctrl-C again ends it at once")

    def hear() -> None:
        if not came:
            for number in ends:
                loop.add_signal_handler(number, stop)

    hear()
    try:
        yield hear
    except asyncio.CancelledError:
        if not came:
            raise
    finally:
        give_back()
