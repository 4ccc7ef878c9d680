"""One owner a batch: taken by compare-and-set, kept alive by a heartbeat, given up at the end."""

import asyncio
import logging
import os
import socket
import threading
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy import Engine
from tenacity import AsyncRetrying, retry_if_result, stop_after_delay, wait_fixed

from blocks.access import Access, open_access, open_database
from bouncer.batches import ownership
from bouncer.batches.ownership import HEARTBEAT_SECONDS, STALE_SECONDS
from bouncer.batches.state import BatchWork
from bouncer.errors import BouncerFlowsError
from tasks.running.stopping import sleep_unless_stopping

__all__ = ["new_owner", "owned_batch"]

_log = logging.getLogger(__name__)


def new_owner() -> str:
    """A name for a run that no other run, process or machine has."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{uuid.uuid4().hex[:12]}"


@asynccontextmanager
async def owned_batch(batch_id: int) -> AsyncIterator[tuple[Access, BatchWork | None]]:
    """Owns a batch while the block runs, and opens what its run needs.

    Args:
        batch_id: The row of the batch.

    Yields:
        The access to the batch's account, and the batch as it stands, or None where another run works on it or
        there is no such batch.
    """
    owner = new_owner()
    engine = await open_database()
    account = await asyncio.to_thread(ownership.account_of, engine, batch_id)
    async with open_access(account or "default", owner, engine) as access:
        batch = None if account is None else await _take(access, batch_id, owner)
        if batch is None:
            yield access, None
            return
        _heart.add(access.engine, batch)
        try:
            yield access, batch
        finally:
            _heart.remove(batch)
            # Where the database is away now, the heartbeat's silence gives the batch up instead.
            with suppress(BouncerFlowsError):
                await ownership.release(access, batch)


async def _take(access: Access, batch_id: int, owner: str) -> BatchWork | None:
    # An owner that was killed looks alive until its heartbeat has been silent long enough. Whoever retries its run
    # wants the batch finished, not to be told that somebody is at it.
    persistent = AsyncRetrying(
        retry=retry_if_result(lambda batch: batch is None),
        wait=wait_fixed(HEARTBEAT_SECONDS / 2),
        stop=stop_after_delay(STALE_SECONDS + HEARTBEAT_SECONDS),
        sleep=sleep_unless_stopping,
        retry_error_callback=lambda _state: None,
    )

    async def take() -> BatchWork | None:
        return await ownership.take(access, batch_id, owner)

    taken: BatchWork | None = await persistent(take)
    return taken


class _Heart:
    # One thread and one statement a beat for all batches of this process. A thread, because an event loop that is
    # busy with a large download must not look dead.

    def __init__(self) -> None:
        self._owned: dict[str, tuple[Engine, BatchWork]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def add(self, engine: Engine, batch: BatchWork) -> None:
        with self._lock:
            self._owned[batch.owner] = (engine, batch)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="batch-heartbeat", daemon=True)
                self._thread.start()

    def remove(self, batch: BatchWork) -> None:
        with self._lock:
            self._owned.pop(batch.owner, None)

    def _run(self) -> None:
        while not self._wake.wait(HEARTBEAT_SECONDS):
            with self._lock:
                owned = list(self._owned.values())
            for engine in {id(engine): engine for engine, _ in owned}.values():
                mine = [batch for its_engine, batch in owned if its_engine is engine]
                try:
                    ownership.beat(engine, [batch.owner for batch in mine], [batch.id for batch in mine])
                except Exception:  # noqa: BLE001  # a beat that fails must not end the heart; silence is noticed
                    _log.warning("A heartbeat could not be written; another run may take these batches over")


_heart = _Heart()
