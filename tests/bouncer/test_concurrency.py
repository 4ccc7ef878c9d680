"""Things that are done at the same time: none is left running, and the first error is told."""

import asyncio

import pytest

from bouncer.concurrency import await_all


async def test_each_goes_on_while_the_others_wait() -> None:
    """None could end before the other has begun; results come in the order of what was asked."""
    both = asyncio.Barrier(2)

    async def meet(name: str) -> str:
        await asyncio.wait_for(both.wait(), timeout=30)
        return name

    assert await await_all(meet("first"), meet("second")) == ["first", "second"]


async def test_an_error_is_told_when_the_others_have_ended() -> None:
    """The error is that of the first in order, whoever failed first."""
    ended = []

    async def fail(number: int, moments: int) -> None:
        for _ in range(moments):
            await asyncio.sleep(0)
        ended.append(number)
        raise ValueError(number)

    with pytest.raises(ValueError, match="1"):
        await await_all(fail(1, 5), fail(2, 0))
    assert ended == [2, 1]


async def test_an_error_that_was_caught_is_a_result_like_any_other() -> None:
    """As where each account says why it cannot go on: that one cannot is no reason for the others to end."""

    async def reason() -> ValueError | None:
        return ValueError("paused")

    (found,) = await await_all(reason())
    assert str(found) == "paused"
