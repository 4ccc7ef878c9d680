"""Calls the address that an upload named, once its batch is complete; in whatever form, late, twice or never."""

import asyncio
import logging
import random
from typing import Any

import httpx

from sandbox.service.batches import Batch
from sandbox.service.service import Service

__all__ = ["Callbacks"]

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.1


class Callbacks:
    """The callbacks that are still to be made.

    Args:
        service: The service whose batches they are about.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._waiting: set[asyncio.Task[None]] = set()
        self._chance = random.Random(service.settings.seed)  # noqa: S311  # repeatable on purpose, no secret

    def promise(self, batch: Batch, url: str) -> None:
        """Calls an address when the batch is complete; must be called where an event loop runs."""
        task = asyncio.create_task(self._keep(batch, url))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _keep(self, batch: Batch, url: str) -> None:
        service = self._service
        while batch.charged is None:
            await asyncio.sleep(_LOOK_SECONDS)
            service.settle()
            if batch.batch_id not in service.batches:
                return
        settings = service.settings
        for _ in range(1 + settings.callback_repeats):
            await asyncio.sleep(settings.callback_delay_seconds)
            if self._chance.random() >= settings.callback_loss:
                await self._call(batch, url)

    async def _call(self, batch: Batch, url: str) -> None:
        try:
            async with httpx.AsyncClient(timeout=5) as client:
                answer = await client.post(url, **_content(self._service, batch))
            outcome = str(answer.status_code)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            outcome = type(error).__name__
            _log.info("The callback of a batch was not delivered: %s", outcome)
        self._service.ledger.callbacks_by_outcome[outcome] += 1


def _content(service: Service, batch: Batch) -> dict[str, Any]:
    match service.settings.callback_shape:
        case "summary":
            return {"json": batch.summary(service.now)}
        case "nested":
            return {"json": {"event": "batch.completed", "data": [{"batch": {"id": batch.batch_id}}]}}
        case "form":
            return {"data": {"batch_id": batch.batch_id, "status": "completed"}}
        case "empty":
            return {}
