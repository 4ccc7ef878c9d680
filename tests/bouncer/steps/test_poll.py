"""Polling a batch: what is seen of it comes first, and what others make of that second."""

import logging
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Engine

from bouncer.api.answers import BatchProgress
from bouncer.steps.poll import poll
from tests.bouncer.contacts import batch_rows, claim, queue, take, upload
from tests.bouncer.steps.access import StepAccess
from tests.bouncer.storage.existing_tables import on_sqlite

_NEW: Any = SimpleNamespace(
    max_concurrent_batches=15,
    queue_ahead_seconds=60.0,
    poll_seconds_min=0.1,
    poll_seconds_max=0.2,
    batch_deadline_seconds=60.0,
    callback_url=None,
)


@dataclass
class _Bouncer:
    looks: int = 0

    async def batch_progress(self, _bouncer_id: str) -> BatchProgress:
        self.looks += 1
        if self.looks == 1:
            return BatchProgress(status="processing", processed=1)
        return BatchProgress(status="completed", processed=500, credits=500)


@dataclass
class _Bar:
    async def move(self, percent: int, seconds: float) -> None:
        """Shows nothing."""

    async def end(self, seconds: float) -> None:
        """Shows nothing."""


@dataclass
class _Claiming:
    engine: Engine
    processed: list[int] = field(default_factory=list)
    log: logging.Logger = field(default_factory=lambda: logging.getLogger(__name__))

    async def progress_bar(self, *_: float) -> _Bar:
        return _Bar()

    async def make_use_of_room(self) -> None:
        self.processed += [row.processed for row in batch_rows(self.engine)]


@on_sqlite
async def test_what_was_seen_of_a_batch_is_noted_before_its_worker_claims_others(engine: Engine) -> None:
    """A claim that waited for others came first, and the pace of the batch seemed to be a fraction of what it was."""
    queue(engine, (f"a{number}@example.com" for number in range(500)))
    (claimed,) = claim(engine, batches=1, batch_size=500).batches
    batch = upload(engine, claimed.id)
    bouncer = _Bouncer()
    run: Any = _Claiming(engine)
    await poll(StepAccess(engine, _NEW, bouncer), run, take(engine, batch.id), "bouncer-1")
    assert (run.processed, bouncer.looks) == ([1], 2)
