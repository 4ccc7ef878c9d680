"""Ledger of everything that the service saw and did, kept on its own side: the judge of a client's promises."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.service.windows import SlidingWindow

__all__ = ["DigestTally", "Ledger", "of_pass"]

_DEEP = np.uint64(0x9E3779B97F4A7C15)


def of_pass(digests: NDArray[np.uint64], *, deep: bool) -> NDArray[np.uint64]:
    """The digests by which the ledger knows addresses: a deep look at one is not a second basic one."""
    return digests ^ _DEEP if deep else digests


class DigestTally:
    """Digests that came, and those among them that came in more than one batch; eight bytes each.

    Attributes:
        repeated: The digests that came more than once, sorted.
    """

    def __init__(self) -> None:
        self._seen = np.empty(0, dtype=np.uint64)
        self.repeated = np.empty(0, dtype=np.uint64)

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, digests: NDArray[np.uint64]) -> None:
        """Adds the digests of one batch, which holds each at most once."""
        known = np.isin(digests, self._seen, assume_unique=True)
        self.repeated = np.union1d(self.repeated, digests[known])
        # The stable sort merges two sorted runs in one pass.
        self._seen = np.sort(np.concatenate([self._seen, np.sort(digests[~known])]), kind="stable")


@dataclass
class Ledger:
    """Counts over everything that reached the service since it was started or reset."""

    requests_by_operation: Counter[str] = field(default_factory=Counter)
    answers_by_status: Counter[str] = field(default_factory=Counter)
    requests_window: SlidingWindow = field(default_factory=SlidingWindow)
    requests_windows_by_key: defaultdict[str, SlidingWindow] = field(default_factory=lambda: defaultdict(SlidingWindow))
    uploads_window: SlidingWindow = field(default_factory=SlidingWindow)
    realtime_window: SlidingWindow = field(default_factory=SlidingWindow)
    batches: int = 0
    batches_over_limit: int = 0
    most_in_flight: int = 0
    addresses_uploaded: int = 0
    uploaded: DigestTally = field(default_factory=DigestTally)
    charged: DigestTally = field(default_factory=DigestTally)
    credits_charged: int = 0
    callbacks_by_outcome: Counter[str] = field(default_factory=Counter)
    timeouts_asked_for: Counter[str] = field(default_factory=Counter)
    downloads: int = 0
    finished: int = 0
    deleted: int = 0

    def count_request(self, operation: str, key: str, now: float) -> None:
        """Counts a request at its arrival, whatever becomes of it."""
        self.requests_by_operation[operation] += 1
        if operation == "verify":
            self.realtime_window.add(now)
            return
        self.requests_window.add(now)
        self.requests_windows_by_key[key].add(now)
        if operation == "create":
            self.uploads_window.add(now)

    def count_upload(self, quantity: int, digests: NDArray[np.uint64], in_flight: int) -> None:
        """Counts a batch that was created.

        Args:
            quantity: The addresses that were sent, repeated ones too.
            digests: The digests of its addresses, each once.
            in_flight: Batches in flight with this one; they are at their most when one is created.
        """
        self.batches += 1
        self.addresses_uploaded += quantity
        self.uploaded.add(digests)
        self.most_in_flight = max(self.most_in_flight, in_flight)

    def count_realtime(self, digests: NDArray[np.uint64]) -> None:
        """Counts one address that was sent by itself."""
        self.addresses_uploaded += len(digests)
        self.uploaded.add(digests)

    def count_charge(self, digests: NDArray[np.uint64]) -> None:
        """Counts one credit for each address."""
        self.credits_charged += len(digests)
        self.charged.add(digests)

    def as_dict(self) -> dict[str, Any]:
        """The counts as the control endpoint shows them."""
        return {
            "requests": self.requests_by_operation.total(),
            "requests_by_operation": self.requests_by_operation,
            "answers_by_status": self.answers_by_status,
            "most_requests_in_60s": self.requests_window.most,
            "most_requests_in_60s_by_key": {key: window.most for key, window in self.requests_windows_by_key.items()},
            "most_realtime_in_60s": self.realtime_window.most,
            "most_uploads_in_60s": self.uploads_window.most,
            "batches": self.batches,
            "batches_over_limit": self.batches_over_limit,
            "most_in_flight": self.most_in_flight,
            "addresses_uploaded": self.addresses_uploaded,
            "addresses_unique": len(self.uploaded),
            "addresses_twice": len(self.uploaded.repeated),
            "addresses_charged": len(self.charged),
            "addresses_charged_twice": len(self.charged.repeated),
            "credits_charged": self.credits_charged,
            "callbacks_by_outcome": self.callbacks_by_outcome,
            "timeouts_asked_for": self.timeouts_asked_for,
            "downloads": self.downloads,
            "finished": self.finished,
            "deleted": self.deleted,
        }
