"""Outages: what is away for minutes, for everybody."""

import asyncio

__all__ = ["BOUNCER", "DATABASE", "KEY", "PREFECT", "Outages"]

BOUNCER, DATABASE, PREFECT, KEY = "Bouncer", "the database", "the Prefect server", "the key"

_SECONDS = {BOUNCER: (60.0, 400.0)}
"""The shortest and the longest; five calls in a row have to fail before anybody notices."""

_USUAL_SECONDS = (20.0, 300.0)


class Outages:
    """The outages of a history.

    Attributes:
        over_at: When the last one is over.
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._shares: dict[str, float] = {}
        self.over_at = 0.0

    def begin(self, what: str, share: float) -> float:
        """Lets something be away from now on, the longer the larger a share from 0 to 1 is.

        Returns:
            For how many seconds.
        """
        shortest, longest = _SECONDS.get(what, _USUAL_SECONDS)
        seconds = shortest + (longest - shortest) * share
        self._until[what] = _now() + seconds
        self._shares[what] = share
        self.over_at = max(self.over_at, self._until[what])
        return seconds

    def is_away(self, what: str) -> bool:
        """True if something is away just now."""
        return what in self._until and _now() < self._until[what]

    def share(self, what: str) -> float:
        """The share that an outage began with, for whatever has to be chosen more."""
        return self._shares[what]

    async def over(self, what: str) -> None:
        """Waits until something is there again."""
        if self.is_away(what):
            await asyncio.sleep(self._until[what] - _now())


def _now() -> float:
    return asyncio.get_running_loop().time()
