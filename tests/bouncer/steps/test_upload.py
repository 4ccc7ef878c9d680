"""The upload of a batch: while it waits for room, what becomes of it elsewhere is seen."""

import logging
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Engine

from bouncer.batches import admission, transitions
from bouncer.batches.state import BatchWork
from bouncer.steps.upload import upload
from bouncer.storage.engine import write
from bouncer.storage.tables import Batch
from tests.bouncer.contacts import set_back, small_batches, take
from tests.bouncer.steps.access import StepAccess
from tests.bouncer.storage.existing_tables import on_sqlite

_ONE_PLACE: Any = SimpleNamespace(
    max_concurrent_batches=1,
    poll_seconds_min=0.1,
    batch_deadline_seconds=60.0,
    callback_url=None,
    ambiguous_upload="resubmit",
    queue_ahead_seconds=0.0,
)


@dataclass
class _SlotInWhichAnAnswerComes:
    engine: Engine
    sent: BatchWork

    async def step_aside(self) -> None:
        write(self.engine, transitions.record_upload, self.sent, "bouncer-1", 0)


@on_sqlite
async def test_a_batch_whose_answer_comes_late_does_not_wait_for_room_for_ever(engine: Engine) -> None:
    """It waited for a more urgent one to go first, which waited for the only place: its own."""
    first = take(engine, small_batches(engine, 1)[0], "frozen")
    urgent = small_batches(engine, 1, priority=75)[0]
    assert write(engine, admission.admit_upload, first, 1) is admission.Admission.ADMITTED
    set_back(engine, Batch.heartbeat_ts, 60, Batch.id == first.id)
    second = take(engine, first.id, "successor")
    take(engine, urgent, "another")
    run: Any = SimpleNamespace(log=logging.getLogger(__name__), announce=lambda _what, **_details: None)
    slot = _SlotInWhichAnAnswerComes(engine, first)
    assert await upload(StepAccess(engine, _ONE_PLACE), run, second, slot) == "bouncer-1"
