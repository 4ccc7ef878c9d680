"""A batch as it is on the service's side: what is in it and how far it has come at any moment."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sandbox.service.accounts import Account
from sandbox.service.line import Turn
from sandbox.service.pace import Composition
from sandbox.service.verdicts import CHARGED, count_statuses, odd, render
from sandbox.settings import SandboxSettings

__all__ = ["NO_ADDRESSES", "Addresses", "Batch", "iso_time", "picked_up_after"]

_QUEUED_SECONDS, _QUEUED_SHARE = 1.0, 0.05
_RETRY_AFTER_SECONDS = 3600.0
# The separator cannot be part of an address: an upload that has it is refused.
_SEPARATOR = "\0"


def iso_time(moment: float) -> str:
    """Epoch seconds as Bouncer writes a time."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def picked_up_after(seconds: float) -> float:
    """Seconds that a batch reads queued where nothing is ahead of it."""
    return min(_QUEUED_SECONDS, _QUEUED_SHARE * seconds)


class Addresses:
    """Addresses with their digests and verdicts, packed: a million take some 40 MB."""

    def __init__(self, addresses: list[str], digests: NDArray[np.uint64], codes: bytes) -> None:
        self._packed = _SEPARATOR.join(addresses).encode()
        self.digests = digests
        self.codes = codes

    def __len__(self) -> int:
        return len(self.codes)

    def unpacked(self) -> list[str]:
        """The addresses as text, as they were sent and in that order."""
        return self._packed.decode().split(_SEPARATOR)


NO_ADDRESSES = Addresses([], np.empty(0, dtype=np.uint64), b"")
"""Addresses of a deleted batch."""


@dataclass(eq=False, slots=True, kw_only=True)
class Batch(Turn):
    """A batch; it waits in its account's line until it starts.

    Attributes:
        addresses: What was uploaded, each address once.
        quantity: How many addresses the upload had, repeated ones too.
        held: Credits held for it.
        stuck_at: The share of its addresses beyond which it makes no progress.
        stopped_at: How many addresses were verified when it was finished.
        visible_from: Before this moment it answers 404.
        forgotten: It answers 404 for ever.
        garbled: Its results are never whole.
        removed: Its results will have been removed once it is completed.
        deleted: Its addresses and results have been removed.
        charged: Credits charged for it; None while it is in flight.
    """

    batch_id: str
    serial: int
    account: Account
    key: str
    addresses: Addresses
    composition: Composition
    quantity: int
    held: int
    settings: SandboxSettings
    stuck_at: float | None = None
    stopped_at: int | None = None
    visible_from: float = 0.0
    forgotten: bool = False
    garbled: bool = False
    removed: bool = False
    deleted: bool = False
    charged: int | None = None
    status_requests: int = 0
    first_status_at: float | None = None
    downloads: int = 0
    first_download_at: float | None = None

    @property
    def duplicates(self) -> int:
        """Number of addresses in the upload that repeated earlier ones."""
        return self.quantity - self.composition.addresses

    def is_completed(self, now: float) -> bool:
        """Tells whether the batch reads completed."""
        return now >= self.ends

    def status(self, now: float) -> str:
        """Its status as the service tells it."""
        if self.is_completed(now):
            return "completed"
        return "queued" if self.started is None else "processing"

    def processed(self, now: float) -> int:
        """Counts the addresses with a verdict."""
        if self.stopped_at is not None:
            return self.stopped_at
        if self.is_completed(now):
            return self.composition.addresses
        if self.started is None:
            return 0
        progress = (now - self.started) / self.work if self.work else 1.0
        furthest = 1.0 if self.stuck_at is None else self.stuck_at
        return int(self.composition.addresses * min(max(progress, 0.0), furthest))

    def begin(self, moment: float) -> None:
        """Starts it; one that is stuck never ends by itself."""
        # Not super(): a dataclass with slots is another class than the one that the name stood for here.
        Turn.begin(self, moment)
        if self.stuck_at is not None:
            self.ends = math.inf

    def stop(self, now: float, seconds: float) -> None:
        """Verifies no more addresses; the batch completes in so many seconds, or before if it was about to."""
        self.stopped_at = self.processed(now)
        self.ends = min(self.ends, now + seconds)

    def complete(self, now: float) -> None:
        """Completes it at once, with a verdict on every address unless it was stopped before."""
        if self.started is None:
            self.started = now
        self.ends = now

    def stats(self, now: float) -> dict[str, int]:
        """Counts the addresses by verdict so far."""
        return count_statuses(self.addresses.codes[: self.processed(now)])

    def summary(self, now: float, *, with_stats: bool = False) -> dict[str, Any]:
        """The batch as the service describes it, at creation and afterwards."""
        answer: dict[str, Any] = {
            "batchId": self.batch_id,
            "created": iso_time(self.created),
            **({} if self.started is None else {"started": iso_time(self.started)}),
            **({"completed": iso_time(self.ends)} if self.is_completed(now) else {}),
            "status": self.status(now),
            "quantity": self.quantity,
            "duplicates": self.duplicates,
        }
        if with_stats:
            answer |= {"processed": self.processed(now), "stats": self.stats(now)}
        if self.charged is not None:
            answer["credits"] = self.charged
        return answer

    def charged_digests(self) -> NDArray[np.uint64]:
        """The digests of what is charged: verified, not unknown, not free, not left out of the download."""
        count = self.processed(self.ends)
        charged = CHARGED[np.frombuffer(self.addresses.codes, dtype=np.uint8)[:count]] & ~self._left_out(count)
        return self.addresses.digests[:count][charged]

    def results(self) -> Iterator[dict[str, Any]]:
        """The results of a completed batch, in no useful order."""
        texts = self.addresses.unpacked()
        count = self.processed(self.ends)
        left_out = self._left_out(count).tolist()
        draws = self._draws("order")
        is_odd = (draws.random(count) < self.settings.odd_statuses).tolist()
        retry_after = iso_time(self.ends + _RETRY_AFTER_SECONDS)
        for stranger in range(round(count * self.settings.unmatched_results)):
            address = f"stranger{self.serial}.{stranger}@unmatched.example"
            yield render(self.settings.seed, address, stranger, 0, retry_after)
        for place in draws.permutation(count).tolist():
            if left_out[place]:
                continue
            digest = int(self.addresses.digests[place])
            code = self.addresses.codes[place]
            result = render(self.settings.seed, texts[place], digest, code, retry_after)
            yield odd(result) if is_odd[place] else result

    def _left_out(self, count: int) -> NDArray[np.bool_]:
        missing: NDArray[np.bool_] = self._draws("missing").random(count) < self.settings.missing_results
        return missing

    def _draws(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, self.serial, *purpose.encode()])
