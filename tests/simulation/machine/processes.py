"""Processes of a simulated world: which task belongs to which, and how they die.

A process that is killed reaches nothing any more: all its ports raise what kills it, so that no clean-up of its can do
any work outside of its own memory.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from typing import Any

from bouncer import stopping

__all__ = [
    "Killed",
    "Process",
    "current",
    "die_if_dead",
    "living_in",
    "note_mishap",
    "of",
    "own",
    "use_processes_for_stopping",
]


class Killed(BaseException):
    """The process was killed."""


@dataclass(eq=False)
class Process:
    """A process.

    Attributes:
        name: What the story calls it.
        frozen_until: When it goes on, where it stands still as a machine that swaps does.
        thaw_after: How soon it goes on after another process has taken a batch of its; None where it goes on when its
            time is over.
        troubled_at: When anything went wrong with it last.
        parked: What would run in it, were it not frozen.
        owned: The batches that it had when it froze, once somebody has looked.
    """

    name: str
    is_dead: bool = False
    is_stopping: bool = False
    frozen_until: float = 0.0
    thaw_after: float | None = None
    troubled_at: float = -1.0
    parked: list[asyncio.Handle] = field(default_factory=list)
    owned: set[int] | None = None
    tasks: "list[asyncio.Task[Any]]" = field(default_factory=list)

    def note_mishap(self) -> None:
        """Writes down that something goes wrong with it now."""
        self.troubled_at = asyncio.get_running_loop().time()

    def freeze(self, seconds: float, thaw_after: float | None) -> None:
        """Lets it stand still, at most for so long."""
        loop = asyncio.get_running_loop()
        self.frozen_until = loop.time() + seconds
        self.thaw_after, self.owned = thaw_after, None
        loop.call_at(self.frozen_until, self._thaw_if_due, context=Context())

    def take_note(self, owned: set[int]) -> None:
        """Lets it go on soon where another process has taken a batch that it had: nothing is more dangerous."""
        if self.thaw_after is None:
            return
        if self.owned is not None and self.owned - owned:
            asyncio.get_running_loop().call_later(self.thaw_after, self.thaw, context=Context())
            self.thaw_after = None
        self.owned = owned

    def thaw(self) -> None:
        """Lets it go on, unless it does already."""
        if self.frozen_until == 0:
            return
        self.frozen_until = 0.0
        self.thaw_after = None
        parked, self.parked = self.parked, []
        loop: Any = asyncio.get_running_loop()
        loop._ready.extend(handle for handle in parked if not handle.cancelled())
        if self.is_dead:
            self.kill()

    def _thaw_if_due(self) -> None:
        if self.frozen_until <= asyncio.get_running_loop().time() + 0.001:
            self.thaw()

    def kill(self) -> None:
        """Lets it do nothing any more; whoever of it is running learns it at its next step."""
        self.is_dead = True
        self.note_mishap()
        if self.frozen_until > 0:
            # What is frozen dies when it thaws.
            return
        running = asyncio.current_task()
        for task in self.tasks:
            if task is not running and not task.done():
                task.cancel()

    async def bury(self) -> None:
        """Waits until nothing of it runs any more."""
        rest = self.frozen_until - asyncio.get_running_loop().time()
        if rest > 0:
            await asyncio.sleep(rest + 0.002)
        self.kill()
        for _ in range(1_000):
            alive = [task for task in self.tasks if not task.done()]
            if not alive:
                break
            for task in alive:
                task.cancel()
            await asyncio.sleep(0)
        else:
            raise AssertionError(f"{self.name} cannot be killed")
        for task in self.tasks:
            # What they died of is known.
            if not task.cancelled():
                task.exception()
        self.tasks.clear()


_current: ContextVar[Process | None] = ContextVar("process", default=None)


def of(context: Context) -> Process | None:
    """The process whose code runs in a context."""
    return context.get(_current)


def current() -> Process | None:
    """The process whose code is running, or None where it is the world's."""
    return _current.get()


def note_mishap() -> None:
    """Writes down that something goes wrong now with the process whose code is running, if any."""
    if (process := current()) is not None:
        process.note_mishap()


@contextmanager
def living_in(process: Process | None) -> Iterator[None]:
    """Runs what is begun in the block in a process."""
    token = _current.set(process)
    try:
        yield
    finally:
        _current.reset(token)


def own(task: "asyncio.Task[Any]", context: Context | None) -> None:
    """Writes down to which process a new task belongs."""
    process = _current.get() if context is None else context.get(_current)
    if process is not None:
        process.tasks.append(task)
        if process.is_dead:
            task.cancel()


def die_if_dead() -> None:
    """Keeps a dead process from doing anything.

    Raises:
        Killed: It is dead.
    """
    process = _current.get()
    if process is not None and process.is_dead:
        raise Killed(process.name)


class _Wish:
    # In the place of an event of the one process that the product knows.

    def is_set(self) -> bool:
        process = _current.get()
        return process is not None and process.is_stopping

    def set(self) -> None:
        process = _current.get()
        if process is not None:
            process.is_stopping = True

    def clear(self) -> None:
        process = _current.get()
        if process is not None:
            process.is_stopping = False


def use_processes_for_stopping() -> None:
    """Makes the wish to stop one of each process."""
    stopping._stopping = _Wish()  # type: ignore[assignment]  # it is of a process, and here are several
