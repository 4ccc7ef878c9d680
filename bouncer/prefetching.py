"""Prepares the next pieces of work while the one before is still being worked on."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_order", "one_ahead"]

_Item = TypeVar("_Item")


def one_ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """Takes each item from an iterator in a thread, while whoever asked is busy with the item before.

    Args:
        items: Of anything but None; used by one thread at a time.

    Yields:
        The same items in the same order; an error comes where it occurred.
    """
    with ThreadPoolExecutor(max_workers=1) as worker:
        upcoming = worker.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = worker.submit(next, items, None)
            yield item


def in_order(calls: Iterable[Callable[[], _Item]], at_once: int) -> Iterator[_Item]:
    """Runs calls in threads, a few at a time, and hands over what they return in the order of the calls.

    Args:
        calls: What to run; each is taken when a thread is free for it.
        at_once: The most calls that run or wait to be handed over, 1 or more.

    Yields:
        What the first call returned, then the second, and so on; an error comes where it occurred. Whoever stops
        early waits for those that run.
    """
    with ThreadPoolExecutor(max_workers=at_once) as workers:
        begun: deque[Future[_Item]] = deque()
        for call in calls:
            begun.append(workers.submit(call))
            if len(begun) == at_once:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
