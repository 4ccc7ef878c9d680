"""The slots of ``bouncer-batches``: held from upload to completion, under a lease that the batch's row remembers.

Prefect's own ``concurrency()`` keeps the lease to itself. Here the next owner of a batch must be able to give the
lease of a dead one back at once, instead of waiting a minute and a half for it to run out.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID
from weakref import WeakKeyDictionary

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.client.schemas.responses import ConcurrencyLimitWithLeaseResponse
from prefect.runtime import flow_run

from blocks.access import Access
from bouncer.batches import ownership
from bouncer.batches.state import BatchWork
from bouncer.errors import LimitsMissing
from bouncer.installation import here
from tasks.running.stopping import sleep_unless_stopping

__all__ = [
    "LEASE_SECONDS",
    "Listener",
    "Slot",
    "batch_slot",
    "give_back",
    "give_back_stale_lease",
    "tell_begun",
    "tell_done",
    "telling",
]

_log = logging.getLogger(__name__)

LEASE_SECONDS = 60.0
"""The shortest lease that the Prefect server grants."""

_RENEW_SECONDS = 20.0
_LOCKED = 423
_places: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, int], asyncio.Semaphore]] = WeakKeyDictionary()
_NEXT_TRY_SECONDS = 1.0


@dataclass(frozen=True)
class Listener:
    """Listener to the run of a batch: whoever began it.

    Attributes:
        begun: Called when Bouncer has begun with the batch, which makes room for more.
        done: Called when the batch needs a slot no more: when it is verified.
    """

    begun: Callable[[], None]
    done: Callable[[], None]


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


class Slot:
    """One slot of the account.

    Args:
        hold: Holds the slot while its context lasts.
        forget: Takes the lease out of the batch's row again.
    """

    def __init__(
        self, hold: Callable[[], AbstractAsyncContextManager[None]], forget: Callable[[], Awaitable[None]]
    ) -> None:
        self._hold = hold
        self._forget = forget
        self._holding = AsyncExitStack()

    async def take(self) -> None:
        """Waits for the slot."""
        await self._holding.enter_async_context(self._hold())

    async def leave(self) -> None:
        """Gives the slot back, if it is held."""
        await self._holding.aclose()

    async def step_aside(self) -> None:
        """Gives the slot back for a moment.

        Where as many batches are in flight as may be, some of them may have lost their runs. Who then kept its slot
        while it waits for room would keep the very batches from being verified that make the room.

        Raises:
            Stopped: The process was asked to stop; the slot is not held any more.
        """
        await self.leave()
        await self._forget()
        await sleep_unless_stopping(_NEXT_TRY_SECONDS)
        await self.take()


@asynccontextmanager
async def batch_slot(access: Access, batch: BatchWork) -> AsyncIterator[Slot]:
    """Holds one slot of the account while the batch is in flight.

    A lease that cannot be renewed does not end healthy work: the hard limit is counted in the database, where
    uploads are admitted.

    Raises:
        LimitsMissing: The limit does not exist.
    """
    async with get_client() as client:
        slot = Slot(lambda: _held(access, batch, client), lambda: _forget_lease(access, batch))
        try:
            await slot.take()
            yield slot
        finally:
            await slot.leave()
    tell_done()


def tell_begun() -> None:
    """Tells whoever began the run that Bouncer has begun with its batch."""
    if (listener := _listener.get()) is not None:
        listener.begun()


def tell_done() -> None:
    """Tells whoever began the run that its batch needs a slot no more."""
    if (listener := _listener.get()) is not None:
        listener.done()


@contextmanager
def telling(listener: Listener) -> Iterator[None]:
    """A run that is begun within it tells how far its batch has come."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@asynccontextmanager
async def _held(access: Access, batch: BatchWork, client: PrefectClient) -> AsyncIterator[None]:
    name = here().limit("batches", access.name)
    async with _places_here(name, access.account.max_concurrent_batches):
        lease = await _acquire(client, name)
        renewing = asyncio.create_task(_keep(client, lease))
        try:
            await ownership.record_lease(access, batch, str(lease))
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            await give_back(client, str(lease))


def _places_here(name: str, places: int) -> asyncio.Semaphore:
    # Batches of one process wait for each other here, without asking the server every second.
    of_loop = _places.setdefault(asyncio.get_running_loop(), {})
    return of_loop.setdefault((name, places), asyncio.Semaphore(places))


async def give_back_stale_lease(access: Access, batch: BatchWork) -> None:
    """Gives the slot back that an earlier owner of the batch may have held when it died, at whatever step that was."""
    if batch.stale_lease is not None:
        async with get_client() as client:
            await give_back(client, batch.stale_lease)
        await _forget_lease(access, batch)


async def _forget_lease(access: Access, batch: BatchWork) -> None:
    # Or the batch would count among those that hold a slot, while it waits for one.
    await ownership.record_lease(access, batch, None)


async def give_back(client: PrefectClient, lease: str) -> None:
    """Gives a slot back; a lease that the server does not know is no error, and one that stays runs out by itself."""
    with suppress(httpx.HTTPError):
        await client.release_concurrency_slots_with_lease(lease_id=UUID(lease))


async def _acquire(client: PrefectClient, name: str) -> UUID:
    run = flow_run.get_id()
    holder = ConcurrencyLeaseHolder(type="flow_run", id=UUID(run)) if run else None
    while True:
        try:
            response = await client.increment_concurrency_slots_with_lease(
                names=[name], slots=1, mode="concurrency", lease_duration=LEASE_SECONDS, holder=holder
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code != _LOCKED:
                raise
            # Not the Retry-After of the answer: it grows to half a minute, in which a freed slot would idle.
            await sleep_unless_stopping(_NEXT_TRY_SECONDS)
            continue
        granted = ConcurrencyLimitWithLeaseResponse.model_validate(response.json())
        if not granted.limits:
            raise LimitsMissing(f"limit {name} does not exist; run bouncer-flows setup")
        return granted.lease_id


async def _keep(client: PrefectClient, lease: UUID) -> None:
    while True:
        await asyncio.sleep(_RENEW_SECONDS)
        try:
            await client.renew_concurrency_lease(lease_id=lease, lease_duration=LEASE_SECONDS)
        except httpx.HTTPError as error:
            _log.warning("A slot's lease could not be renewed (%s); the batch goes on", type(error).__name__)
