"""The crew: batches under way in this process, none twice, and never more than there is room for."""

import asyncio
from typing import cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed, exception_to_failed_state

from bouncer.batches import BatchTitle
from bouncer.errors import BatchLost, KeyRefused
from deployments.local_server import LocalServer
from tasks.crew import MOST_FAILED_RUNS, Crew


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

    crew = Crew(start, slots=2)
    assert crew.room == 3
    crew.begin(_titles(1, 2))
    crew.begin(_titles(1, 2, 3, 4))
    assert (crew.room, crew.started, crew.is_idle) == (0, 3, False)
    go.set()
    await crew.all_ended()
    assert (sorted(started), crew.is_idle, crew.gave_up_on, crew.fatal) == ([1, 2, 3], True, [], None)


async def test_what_bouncer_has_is_taken_up_even_where_there_is_no_room() -> None:
    """Batches in flight come first: the others may be waiting for just them to be verified."""

    async def start(batch: BatchTitle) -> State[None]:
        return Completed()

    crew = Crew(start, slots=1)
    crew.begin(_titles(1, 2, 3))
    crew.begin([BatchTitle(4, 1_000, 3, 50, in_flight=True)])
    assert crew.known == [1, 2, 4]
    await crew.all_ended()


async def test_a_batch_that_fails_again_and_again_is_left_for_the_next_run(prefect_server: LocalServer) -> None:
    """After three failed runs in a row a batch is not started any more; one success forgets the failures before."""
    outcomes: dict[int, list[State[None]]] = {1: [Failed()] * 5, 2: [Failed(), Failed(), Completed(), Failed()]}

    async def start(batch: BatchTitle) -> State[None]:
        return outcomes[batch.id].pop(0)

    @flow
    async def drive() -> list[int]:
        crew = Crew(start, slots=2)
        for _ in range(4):
            crew.begin(_titles(1, 2))
            await crew.all_ended()
        assert crew.fatal is None
        return crew.gave_up_on

    assert await drive() == [1]
    assert len(outcomes[1]) == 5 - MOST_FAILED_RUNS


async def test_only_what_makes_going_on_senseless_is_fatal(prefect_server: LocalServer) -> None:
    """A refused key stops everything; a batch that Bouncer lost stops nothing."""

    async def start(batch: BatchTitle) -> State[None]:
        error = BatchLost("gone") if batch.id == 1 else KeyRefused("refused")
        return cast("State[None]", await exception_to_failed_state(error))

    @flow
    async def drive(batch: int) -> str:
        crew = Crew(start, slots=1)
        crew.begin(_titles(batch))
        await crew.all_ended()
        return repr(crew.fatal)

    assert await drive(1) == "None"
    assert await drive(2) == "KeyRefused('refused')"
