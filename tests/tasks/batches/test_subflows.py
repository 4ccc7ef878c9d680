"""The crew: batches under way in this process, none twice, and never more than there is room for."""

import asyncio
from typing import cast

import pytest
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed, exception_to_failed_state

from bouncer.batches.state import BatchState, BatchTitle
from bouncer.errors import BatchLost, KeyRefused
from deployments.server.local_server import LocalServer
from tasks.batches.slots import tell_begun, tell_done
from tasks.batches.subflows import MOST_FAILED_RUNS, Crews

pytestmark = pytest.mark.mainline


def _titles(*ids: int) -> list[BatchTitle]:
    return [BatchTitle(id_, 1_000, 3, 50) for id_ in ids]


def test_a_batch_is_named_for_people() -> None:
    """What people see of a batch is its number, its size and whose it is."""
    assert str(BatchTitle(12, 1_000, 3, 50)) == "batch 12: 1,000 contacts of request 3"


async def test_no_batch_is_started_twice_and_none_beyond_the_room() -> None:
    """A batch that is under way is not begun again, and what finds no room is left for later."""
    go, started = asyncio.Event(), list[int]()

    async def start(batch: BatchTitle) -> State[None]:
        started.append(batch.id)
        await go.wait()
        return Completed()

    crews = Crews(start, {"default": 2})
    assert crews.room == {"default": 3}
    crews.begin(_titles(1, 2))
    crews.begin(_titles(1, 2, 3, 4))
    assert (crews.room, crews.started, crews.is_idle) == ({"default": 0}, 3, False)
    go.set()
    await crews.all_ended()
    assert (sorted(started), crews.is_idle, crews.gave_up_on, crews.fatal) == ([1, 2, 3], True, [], None)


async def test_an_ingest_looks_for_contacts_as_soon_as_bouncer_has_begun_with_a_batch() -> None:
    """It slept for five seconds while it was known already that a new account's batches run side by side."""
    go = asyncio.Event()

    async def start(batch: BatchTitle) -> State[None]:
        tell_begun()
        await go.wait()
        return Completed()

    crews = Crews(start, {"default": 2})
    crews.begin(_titles(1))
    async with asyncio.timeout(30):
        await crews.next_change(3_600, or_room=True)
    # Its slot is not free.
    assert crews.room == {"default": 2}
    go.set()
    await crews.all_ended()


async def test_the_next_batch_is_started_while_a_verified_one_is_loaded() -> None:
    """A slot does not idle while verdicts are stored; but where loads do not keep up, no more and more are begun."""
    loaded, verified = asyncio.Event(), set[int]()

    async def start(batch: BatchTitle) -> State[None]:
        verified.add(batch.id)
        tell_done()
        await loaded.wait()
        return Completed()

    crews = Crews(start, {"default": 2})
    crews.begin(_titles(1, 2, 3))
    assert crews.room == {"default": 0}
    await crews.next_change(60, or_room=True)
    assert crews.room == {"default": 3}
    crews.begin(_titles(4, 5, 6, 7))
    await crews.next_change(60, or_room=True)
    assert crews.room == {"default": 0}
    loaded.set()
    await crews.all_ended()
    assert verified == {1, 2, 3, 4, 5, 6}


async def test_what_bouncer_has_is_taken_up_even_where_there_is_no_room() -> None:
    """Batches in flight come first: the others may be waiting for just them to be verified."""

    async def start(batch: BatchTitle) -> State[None]:
        return Completed()

    crews = Crews(start, {"default": 1})
    crews.begin(_titles(1, 2, 3))
    crews.begin([BatchTitle(4, 1_000, 3, 50, state=BatchState.QUEUED_AT_BOUNCER)])
    assert crews.known == [1, 2, 4]
    await crews.all_ended()


async def test_a_batch_that_fails_again_and_again_is_left_for_the_next_run(prefect_server: LocalServer) -> None:
    """After three failed runs in a row a batch is not started any more; one success forgets the failures before."""
    outcomes: dict[int, list[State[None]]] = {1: [Failed()] * 5, 2: [Failed(), Failed(), Completed(), Failed()]}

    async def start(batch: BatchTitle) -> State[None]:
        return outcomes[batch.id].pop(0)

    @flow
    async def drive() -> list[int]:
        crews = Crews(start, {"default": 2})
        for _ in range(4):
            crews.begin(_titles(1, 2))
            await crews.all_ended()
        assert crews.fatal is None
        return crews.gave_up_on

    assert await drive() == [1]
    assert len(outcomes[1]) == 5 - MOST_FAILED_RUNS


async def test_only_what_makes_going_on_pointless_is_fatal(prefect_server: LocalServer) -> None:
    """A refused key stops everything; a batch that Bouncer lost stops nothing."""

    async def start(batch: BatchTitle) -> State[None]:
        error = BatchLost("gone") if batch.id == 1 else KeyRefused("refused")
        return cast("State[None]", await exception_to_failed_state(error))

    @flow
    async def drive(batch: int) -> str:
        crews = Crews(start, {"default": 1})
        crews.begin(_titles(batch))
        await crews.all_ended()
        return repr(crews.fatal)

    assert await drive(1) == "None"
    assert await drive(2) == "KeyRefused('refused')"


async def test_an_account_that_cannot_go_on_does_not_stop_the_others(prefect_server: LocalServer) -> None:
    """Where one of two keys is refused, the other account goes on; with both refused nothing can."""

    async def start(batch: BatchTitle) -> State[None]:
        if batch.account in refused:
            return cast("State[None]", await exception_to_failed_state(KeyRefused("refused")))
        return Completed()

    @flow
    async def drive() -> list[object]:
        crews = Crews(start, {"default": 2, "second": 2})
        crews.begin([BatchTitle(id_, 1_000, 3, 50, account) for id_, account in ((1, "default"), (2, "second"))])
        await crews.all_ended()
        return [crews.fatal and str(crews.fatal), list(crews.refused), crews.room]

    refused = {"second"}
    assert await drive() == [None, ["second"], {"default": 3, "second": 0}]
    refused = {"default", "second"}
    assert await drive() == ["refused", ["default", "second"], {"default": 0, "second": 0}]
