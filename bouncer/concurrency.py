"""Does several things at the same time where each waits for a server."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

__all__ = ["await_all"]

_Result = TypeVar("_Result")


async def await_all(*awaited: Awaitable[_Result]) -> list[_Result]:
    """Waits until all have ended, so that none goes on where another has failed.

    Args:
        awaited: What is to be done.

    Returns:
        The results, in the order of the arguments.

    Raises:
        BaseException: The first error in that order.
    """
    under_way = [asyncio.ensure_future(each) for each in awaited]
    await asyncio.gather(*under_way, return_exceptions=True)
    return [each.result() for each in under_way]
