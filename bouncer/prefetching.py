"""Prepares the next piece of work while the one before is still being worked on."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["one_ahead"]

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
