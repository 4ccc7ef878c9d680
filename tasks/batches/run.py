"""The run of a batch in Prefect: its log, its events, its progress bar, and the count of uploads."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from prefect import get_run_logger

from blocks.upload_counts import read_mark, write_mark
from bouncer.accounts.upload_history import UploadCount
from tasks.batches.progress_bar import ProgressBar
from tasks.batches.slots import tell_begun
from tasks.running.events import announce

__all__ = ["PrefectRun"]


class _Marks:
    async def read(self, history: str) -> UploadCount:
        return await read_mark(history)

    async def write(self, count: UploadCount) -> None:
        await write_mark(count)


class PrefectRun:
    """Implements ``bouncer.steps.ports.Run`` for the flow or task run that is under way.

    Args:
        use_room: Claims and starts more batches where no ingest is there to do it.
    """

    def __init__(self, use_room: Callable[[], Awaitable[None]] | None = None) -> None:
        self.marks = _Marks()
        self._use_room = use_room

    @property
    def log(self) -> logging.Logger | logging.LoggerAdapter[Any]:
        """The log of the present run, as the UI shows it."""
        return get_run_logger()

    def announce(self, what: str, *, account: str, **details: str | float | bool | None) -> None:
        """Emits an event that automations can act on."""
        announce(what, account=account, **details)

    async def make_use_of_room(self) -> None:
        """Has the ingest that began the run look for contacts at once; on a worker, claims and starts more."""
        tell_begun()
        if self._use_room is not None:
            await self._use_room()

    async def progress_bar(self, batch: int, quantity: int, percent: int, seconds: float) -> ProgressBar:
        """Shows how far a batch has come, as an artifact."""
        return await ProgressBar.begin(batch, quantity, percent, seconds)
