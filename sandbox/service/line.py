"""The line of an account: batches are processed one after another, or as many at once as the account is served."""

import math
from collections import deque
from dataclasses import dataclass

__all__ = ["Line", "Turn"]


@dataclass(eq=False, slots=True, kw_only=True)
class Turn:
    """Something that waits in an account's line, then runs; moments are epoch seconds.

    Attributes:
        created: When it joined the line.
        ready: The earliest moment at which it may start.
        work: Seconds that it runs, where nothing intervenes.
        started: When it started; None while it waits.
        ends: When it is through; infinite while it waits, and where it is stuck.
    """

    created: float
    ready: float
    work: float
    started: float | None = None
    ends: float = math.inf

    def begin(self, moment: float) -> None:
        """Starts it."""
        self.started = moment
        self.ends = moment + self.work


class Line:
    """Turns of one account, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: deque[Turn] = deque()
        self._running: list[Turn] = []
        self._reached = 0.0

    def join(self, turn: Turn) -> None:
        """Puts a turn at the end."""
        self._waiting.append(turn)

    def leave(self, turn: Turn) -> None:
        """Takes a turn out, wherever it is."""
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif turn in self._running:
            self._running.remove(turn)

    def strangers(self) -> list[Turn]:
        """The lists of somebody else that wait or run."""
        return [turn for turn in (*self._running, *self._waiting) if type(turn) is Turn]

    def advance(self, now: float, parallel: int) -> None:
        """Starts and ends turns, each at its own moment, until now.

        Args:
            now: The present moment.
            parallel: How many run side by side.
        """
        while True:
            over = min(self._running, key=lambda turn: turn.ends, default=None)
            ends = math.inf if over is None else over.ends
            starts = math.inf
            if self._waiting and len(self._running) < parallel:
                starts = max(self._waiting[0].ready, self._reached)
            if min(ends, starts) > now:
                break
            if over is not None and ends <= starts:
                self._running.remove(over)
                self._reached = max(ends, self._reached)
            else:
                turn = self._waiting.popleft()
                turn.begin(starts)
                self._running.append(turn)
                self._reached = starts
        self._reached = now
