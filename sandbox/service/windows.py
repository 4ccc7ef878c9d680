"""Sliding windows over requests, of a minute or an hour."""

from collections import deque

__all__ = ["SlidingWindow"]


class SlidingWindow:
    """The moments of the last so many seconds.

    Args:
        seconds: How long the window is.

    Attributes:
        most: The most moments that any window held so far.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        self._seconds = seconds
        self._moments: deque[float] = deque()
        self.most = 0

    def add(self, now: float) -> None:
        """Records one moment, in epoch seconds."""
        self._moments.append(now)
        self.most = max(self.most, self.count(now))

    def count(self, now: float) -> int:
        """Counts the moments in the window that ends now."""
        while self._moments and self._moments[0] <= now - self._seconds:
            self._moments.popleft()
        return len(self._moments)

    def seconds_until_next(self, now: float) -> float:
        """Seconds until the oldest moment leaves the window; 0 for an empty window."""
        return max(0.0, self._moments[0] + self._seconds - now) if self._moments else 0.0
