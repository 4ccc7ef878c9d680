"""Finds the request that a form names: people know its name, programs its number."""

from typing import overload

from blocks.access import Access
from bouncer.requests.names import find_request

__all__ = ["number_of"]


@overload
async def number_of(access: Access, given: int | str) -> int: ...
@overload
async def number_of(access: Access, given: int | str | None) -> int | None: ...
async def number_of(access: Access, given: int | str | None) -> int | None:
    """Gives the number of a request. Safe to run twice: it only reads.

    Args:
        access: The database.
        given: Its number or its name; None for none.

    Raises:
        InputRefused: No request has this name, or several have.
    """
    return await find_request(access, given) if isinstance(given, str) else given
