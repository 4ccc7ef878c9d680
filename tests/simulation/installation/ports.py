"""The ports of a batch's steps in a simulated world: what Prefect, blocks and threads are elsewhere."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from sqlalchemy import Engine

from bouncer.accounts.call_statistics import Call
from bouncer.accounts.upload_history import UploadCount
from bouncer.api.client import BouncerClient
from bouncer.batches import ownership
from bouncer.batches.batches_in_flight import Places
from bouncer.batches.state import BatchWork
from bouncer.errors import OrchestratorUnavailable
from bouncer.stopping import sleep_unless_stopping
from bouncer.storage.tables import Layer
from bouncer.storage.transactions import BesideTheLoop
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.second_chances import Chances
from tests.simulation.installation.outages import PREFECT, Outages
from tests.simulation.machine import processes

__all__ = ["Access", "Buckets", "Marks", "Run", "Server", "Settings", "Slot", "Slots"]

_Params = ParamSpec("_Params")
_Return = TypeVar("_Return")

_LEASE_SECONDS = 60.0
_NEXT_TRY_SECONDS = 10.0


@dataclass
class Settings:
    """The settings of an account, which people change."""

    max_concurrent_batches: int
    batch_size: int
    rate_limit_per_minute: int
    poll_seconds_min: float
    poll_seconds_max: float
    batch_deadline_seconds: float
    callback_url: str | None
    callback_wait_seconds: float
    ambiguous_upload: str
    queue_ahead_seconds: float
    fresh_for: FreshFor
    chances: Chances
    realtime_max_addresses: int
    delete_at_bouncer: bool
    layer: Layer = Layer.BASIC

    @property
    def places(self) -> Places:
        """The places that the account has at Bouncer."""
        return Places(self.max_concurrent_batches, self.queue_ahead_seconds, self.batch_size)


@dataclass(frozen=True)
class Access(BesideTheLoop):
    """The account, its client, and the contacts database, as the steps want them."""

    name: str
    account: Settings
    engine: Engine = field(repr=False)
    client: BouncerClient = field(repr=False)

    @property
    def layer(self) -> Layer:
        """The layer that the account serves."""
        return self.account.layer


class Server:
    """The Prefect server.

    Args:
        outages: Say when it is away.
    """

    def __init__(self, outages: Outages) -> None:
        self._outages = outages

    @property
    def is_away(self) -> bool:
        """True if nobody reaches it just now."""
        return self._outages.is_away(PREFECT)

    async def reach(self) -> None:
        """Asks it for something.

        Raises:
            OrchestratorUnavailable: It is away, and for longer than anybody has patience.
        """
        await _reach_server()
        if self.is_away:
            processes.note_mishap()
            raise OrchestratorUnavailable("the Prefect server cannot be reached; is it running?")


class Marks:
    """The counts of uploads outside of the database.

    Args:
        server: Where they are kept.
    """

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._counts: dict[str, int] = {}

    async def read(self, history: str) -> UploadCount:
        """Reads the highest count of a history."""
        await self._server.reach()
        return UploadCount(history, self._counts.get(history, 0))

    async def write(self, count: UploadCount) -> None:
        """Writes a count down."""
        await self._server.reach()
        self._counts[count.history] = count.uploads


class _Bar:
    async def move(self, percent: int, seconds: float) -> None:
        await _reach_server()

    async def end(self, seconds: float) -> None:
        await _reach_server()


class Run:
    """One run of a batch."""

    def __init__(self, marks: Marks, tell: Callable[[str], None]) -> None:
        self.marks = marks
        self.log = logging.getLogger("tests.simulation.run")
        self._tell = tell
        self.has_room = False

    def announce(self, what: str, *, account: str, **details: str | float | bool | None) -> None:
        """Tells what happened."""
        told = ", ".join(f"{key} {details[key]}" for key in sorted(details))
        self._tell(f"announces {what} of {account}: {told}")
        if "@" in told:
            raise AssertionError(f"an address is announced: {told}")

    async def make_use_of_room(self) -> None:
        """Has the worker look for contacts at once."""
        self.has_room = True

    async def progress_bar(self, batch: int, quantity: int, percent: int, seconds: float) -> _Bar:
        """Shows nothing to nobody."""
        await _reach_server()
        return _Bar()


class Buckets:
    """Token buckets, as the Prefect server keeps them: so many at once, and so many more each second.

    Args:
        per_minute: The most requests in any 60 seconds.
        server: Where they are kept.
    """

    def __init__(self, per_minute: int, server: "Server") -> None:
        self._server = server
        self._buckets = {
            Call.CREATE: [self._bucket(min(60, per_minute), 3), self._bucket(per_minute, 10)],
            Call.VERIFY: [self._bucket(1_000, 10)],
        }
        self._others = self._buckets[Call.CREATE][1:]

    async def acquire(self, call: Call) -> None:
        """Waits until one more request may be sent."""
        for bucket in self._buckets.get(call, self._others):
            await self._server.reach()
            while (wait := bucket.take()) > 0:
                await sleep_unless_stopping(wait)

    @staticmethod
    def _bucket(per_minute: int, share: int) -> "_Bucket":
        slots = max(1, per_minute // share)
        return _Bucket(slots, (per_minute - slots) / 60)


class _Bucket:
    def __init__(self, slots: int, per_second: float) -> None:
        self._slots = slots
        self._per_second = per_second
        self._level = float(slots)
        self._at = 0.0

    def take(self) -> float:
        now = asyncio.get_running_loop().time()
        self._level = min(self._slots, self._level + (now - self._at) * self._per_second)
        self._at = now
        if self._level >= 1 - 1e-6:
            self._level -= 1
            return 0.0
        return (1 - self._level) / self._per_second


class Slots:
    """The slots of an account under leases, as the Prefect server keeps them.

    Args:
        settings: The account's, which say how many there should be.
        beyond: How many more there are.
        server: Where they are kept.
    """

    def __init__(self, settings: Settings, beyond: int, server: "Server") -> None:
        self._server = server
        self._settings = settings
        self._beyond = beyond
        self._leases: dict[str, float] = {}
        self._numbers = 0

    async def acquire(self) -> str:
        """Waits for a slot, and returns its lease."""
        while True:
            await self._server.reach()
            now = asyncio.get_running_loop().time()
            self._leases = {lease: end for lease, end in self._leases.items() if end > now}
            if len(self._leases) < self._settings.max_concurrent_batches + self._beyond:
                self._numbers += 1
                lease = f"lease-{self._numbers}"
                self._leases[lease] = now + _LEASE_SECONDS
                return lease
            await sleep_unless_stopping(_NEXT_TRY_SECONDS)

    async def give_back(self, lease: str) -> None:
        """Gives a slot back; while the server is away the lease stays, and runs out."""
        with suppress(OrchestratorUnavailable):
            await self._server.reach()
            self._leases.pop(lease, None)

    def renew(self, lease: str) -> None:
        """Keeps a slot, by whoever is alive."""
        if lease in self._leases and not self._server.is_away:
            self._leases[lease] = asyncio.get_running_loop().time() + _LEASE_SECONDS


class Slot:
    """One slot, held by a batch.

    Args:
        access: The account and the database.
        batch: The batch.
        slots: The account's.
        held: The leases that the process renews.
    """

    def __init__(self, access: Access, batch: BatchWork, slots: Slots, held: dict[str, Slots]) -> None:
        self._access = access
        self._batch = batch
        self._slots = slots
        self._held = held
        self._lease: str | None = None

    async def take(self) -> None:
        """Waits for the slot."""
        lease = self._lease = await self._slots.acquire()
        self._held[lease] = self._slots
        await self._access.write(ownership.record_lease, self._batch, lease)

    async def leave(self) -> None:
        """Gives the slot back, if it is held."""
        if self._lease is not None:
            lease, self._lease = self._lease, None
            self._held.pop(lease, None)
            await self._slots.give_back(lease)

    async def step_aside(self) -> None:
        """Gives the slot back for a moment, and takes one again."""
        await self.leave()
        await self._access.write(ownership.record_lease, self._batch, None)
        await sleep_unless_stopping(_NEXT_TRY_SECONDS)
        await self.take()

    @asynccontextmanager
    async def holding(self) -> "AsyncIterator[Slot]":
        """Holds it while the batch is in flight."""
        try:
            await self.take()
            yield self
        finally:
            await self.leave()


async def _reach_server() -> None:
    processes.die_if_dead()
    await asyncio.sleep(0.003)
    processes.die_if_dead()
