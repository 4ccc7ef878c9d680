"""Sliding windows of 60 seconds over requests."""

from collections import deque

__all__ = ["SlidingWindow"]

_SECONDS = 60.0


class SlidingWindow:
    """The moments of the last 60 seconds.

    Attributes:
        most: The most moments that any 60 seconds held so far.
    """

    def __init__(self) -> None:
        self._moments: deque[float] = deque()
        self.most = 0

    def add(self, now: float) -> None:
        """Records one moment, in epoch seconds."""
        self._moments.append(now)
        self.most = max(self.most, self.count(now))

    def count(self, now: float) -> int:
        """Counts the moments in the 60 seconds that end now."""
        while self._moments and self._moments[0] <= now - _SECONDS:
            self._moments.popleft()
        return len(self._moments)

    def seconds_until_next(self, now: float) -> float:
        """Seconds until the oldest moment leaves the window; 0 for an empty window."""
        return max(0.0, self._moments[0] + _SECONDS - now) if self._moments else 0.0
