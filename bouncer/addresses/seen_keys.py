"""Remembers which addresses have come, in bounded memory."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["SeenKeys"]

_RECENT_KEYS = 200_000


class SeenKeys:
    """Address keys, eight bytes each: of ten million, two are taken for one with a chance of three in a million."""

    def __init__(self) -> None:
        self._seen: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self._recent: set[int] = set()

    def add(self, keys: "pd.Series[Any]") -> NDArray[np.bool_]:
        """Tells of each key whether it comes for the first time, and keeps it.

        Args:
            keys: 16 bytes each.
        """
        short = np.frombuffer(b"".join(key[:8] for key in keys), dtype=np.uint64)
        at = np.searchsorted(self._seen, short)
        there = (
            self._seen[np.minimum(at, len(self._seen) - 1)] == short if len(self._seen) else np.zeros(len(short), bool)
        )
        first = ~there
        for place in np.flatnonzero(first).tolist():
            key = int(short[place])
            if key in self._recent:
                first[place] = False
            else:
                self._recent.add(key)
        if len(self._recent) > _RECENT_KEYS:
            recent = np.fromiter(self._recent, dtype=np.uint64, count=len(self._recent))
            # The stable sort merges sorted runs in one pass.
            self._seen = np.sort(np.concatenate([self._seen, np.sort(recent)]), kind="stable")
            self._recent.clear()
        return first
