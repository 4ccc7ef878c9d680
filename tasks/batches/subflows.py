"""The batches under way in this process, by account: each a subflow of its own, started when a slot is free."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

from prefect import get_run_logger
from prefect.client.schemas.objects import State

from bouncer.batches.batches_in_flight import batches_ahead
from bouncer.batches.state import AWAITS_UPLOAD, BatchTitle
from bouncer.errors import BouncerFlowsError, DatabaseUnavailable, KeyRefused, LimitsMissing, OrchestratorUnavailable
from tasks.batches.slots import Listener, telling
from tasks.running.stopping import stopping_with

__all__ = ["LEFT_TO_OTHERS", "Crew", "Crews"]

MOST_FAILED_RUNS = 3
"""After so many failed runs of one batch in a row it is left for the next ingest."""

LEFT_TO_OTHERS = ("LeftAsItIs", "NothingToDo")
"""Names of the states of runs that found their batch taken by another run, or left it to one."""

_FATAL_FOR_ALL = (OrchestratorUnavailable, DatabaseUnavailable)
_FATAL = (KeyRefused, LimitsMissing, *_FATAL_FOR_ALL)

_Start = Callable[[BatchTitle], Awaitable[State[None]]]


class Crew:
    """Runs ``verify-batch`` for each batch of one account, and remembers how it ended.

    What a subflow returns is for people. Whether a batch is settled is always asked of its row, since a subflow that
    is replayed by a retried parent can be another batch's (PrefectHQ/prefect#22259).

    Args:
        start: Starts the subflow of a batch under a name, and returns its final state.
        slots: How many batches can be in flight.
        freed: Set when a batch is verified, so that the next can be started while it is loaded, and when Bouncer has
            begun with one that kept others from being sent.

    Attributes:
        started: How many runs were started.
        worked_on: The batches whose runs have ended, but for those that were left to another run.
        fatal: The error that makes it pointless to start any more batches of this account, or None.
    """

    def __init__(self, start: _Start, slots: int, freed: asyncio.Event) -> None:
        self._start = start
        self._size = slots + batches_ahead(slots)
        self._freed = freed
        self._running: dict[int, asyncio.Task[State[None]]] = {}
        self._without_slot: set[int] = set()
        self._failures: dict[int, int] = {}
        self.started = 0
        self.worked_on: set[int] = set()
        self.fatal: BouncerFlowsError | None = None
        self._given_up = threading.Event()

    @property
    def runs(self) -> list[asyncio.Task[State[None]]]:
        """The runs under way."""
        return list(self._running.values())

    @property
    def room(self) -> int:
        """Counts the further batches that can be started.

        One that is being loaded needs no slot any more. But where loads do not keep up, no more batches are verified.
        """
        in_need = len(self._running.keys() - self._without_slot)
        return min(self._size - in_need, 2 * self._size - len(self._running))

    @property
    def gave_up_on(self) -> list[int]:
        """Batches whose runs failed too often."""
        return [batch for batch, failures in self._failures.items() if failures >= MOST_FAILED_RUNS]

    @property
    def known(self) -> list[int]:
        """Batches that are under way here, or that were given up on."""
        return [*self._running, *self.gave_up_on]

    def begin(self, batches: Iterable[BatchTitle]) -> None:
        """Starts as many of the batches as there is room for, none twice, and all that Bouncer has.

        These come first even where there is no room: the others may be waiting for just them to be verified. So do
        those in real time, which need no slot.
        """
        known = set(self.known)
        for batch in batches:
            if (batch.state not in AWAITS_UPLOAD or batch.realtime or self.room > 0) and batch.id not in known:
                if batch.realtime:
                    self._without_slot.add(batch.id)
                listener = Listener(begun=self._freed.set, done=partial(self._note_verified, batch.id))
                with stopping_with(self._given_up), telling(listener):
                    self._running[batch.id] = asyncio.create_task(self._run(batch), name=str(batch))
                self.started += 1

    async def note_ended(self) -> None:
        """Takes note of the runs that have ended."""
        for batch, run in list(self._running.items()):
            if run.done():
                del self._running[batch]
                self._without_slot.discard(batch)
                await self._note(batch, run)

    def _note_verified(self, batch: int) -> None:
        self._without_slot.add(batch)
        self._freed.set()

    async def _run(self, batch: BatchTitle) -> State[None]:
        return await self._start(batch)

    async def _note(self, batch: int, run: asyncio.Task[State[None]]) -> None:
        state = run.result()
        if state.name not in LEFT_TO_OTHERS:
            self.worked_on.add(batch)
        if not (state.is_failed() or state.is_crashed()):
            self._failures.pop(batch, None)
            return
        self._failures[batch] = self._failures.get(batch, 0) + 1
        error = await state.aresult(raise_on_failure=False)
        if isinstance(error, _FATAL):
            self.fatal = error
            # Some may be waiting for room, which batches that cannot be polled any more will never make.
            self._given_up.set()
        get_run_logger().warning("the run of batch %d ended %s: %s", batch, state.name, state.message)


class Crews:
    """The crews of all accounts that work together.

    Args:
        start: Starts the subflow of a batch under a name, and returns its final state.
        slots: How many batches of each account can be in flight.
    """

    def __init__(self, start: _Start, slots: Mapping[str, int]) -> None:
        self._freed = asyncio.Event()
        self._crews = {account: Crew(start, places, self._freed) for account, places in slots.items()}

    @property
    def is_idle(self) -> bool:
        """True while no batch is under way."""
        return not any(crew.runs for crew in self._crews.values())

    @property
    def started(self) -> int:
        """Number of runs that were started."""
        return sum(crew.started for crew in self._crews.values())

    @property
    def gave_up_on(self) -> list[int]:
        """Batches whose runs failed too often."""
        return [batch for crew in self._crews.values() for batch in crew.gave_up_on]

    @property
    def known(self) -> list[int]:
        """Batches that are under way here, or that were given up on."""
        return [batch for crew in self._crews.values() for batch in crew.known]

    @property
    def room(self) -> dict[str, int]:
        """Counts the further batches of each account that can be started; none of one that cannot go on."""
        return {account: 0 if crew.fatal else crew.room for account, crew in self._crews.items()}

    @property
    def worked_on(self) -> set[int]:
        """The batches that were worked on here; see ``Crew``."""
        return set().union(*(crew.worked_on for crew in self._crews.values()))

    @property
    def refused(self) -> dict[str, BouncerFlowsError]:
        """The accounts that cannot go on, and why."""
        return {account: crew.fatal for account, crew in self._crews.items() if crew.fatal is not None}

    @property
    def fatal(self) -> BouncerFlowsError | None:
        """The error that makes going on pointless for all, or None while an account is left that can."""
        errors = list(self.refused.values())
        return next(
            (error for error in errors if isinstance(error, _FATAL_FOR_ALL) or len(errors) == len(self._crews)), None
        )

    def begin(self, batches: Iterable[BatchTitle]) -> None:
        """Starts batches, each in the crew of its account; see ``Crew.begin``."""
        for batch in batches:
            crew = self._crews[batch.account]
            if crew.fatal is None:
                crew.begin([batch])

    async def next_change(self, seconds: float, *, or_room: bool = False) -> None:
        """Waits until the run of a batch has ended, at most so long.

        Args:
            seconds: The longest wait.
            or_room: Whether to wait only until there is room for contacts that wait: a batch that is verified has left
                its slot, and one that Bouncer has begun with may let others be sent.
        """
        runs = [run for crew in self._crews.values() for run in crew.runs]
        if not runs:
            await asyncio.sleep(seconds)
            return
        freed = asyncio.create_task(self._freed.wait())
        awaited = [*runs, freed] if or_room else runs
        await asyncio.wait(awaited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        freed.cancel()
        self._freed.clear()
        for crew in self._crews.values():
            await crew.note_ended()

    async def all_ended(self) -> None:
        """Waits until every batch has ended."""
        while not self.is_idle:
            await self.next_change(60)
