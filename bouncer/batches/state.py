"""State of each batch, and its owner.

The row is the truth: a run that dies leaves it at the step that was reached, and the next owner goes on from there.
"""

import enum
from dataclasses import dataclass

from sqlalchemy import ColumnElement, not_, or_

from bouncer.storage.dialects import age_seconds
from bouncer.storage.tables import Batch, BatchStatus, Layer

__all__ = [
    "HEARTBEAT_SECONDS",
    "STALE_SECONDS",
    "UNSETTLED",
    "BatchTitle",
    "BatchWork",
    "Step",
    "has_no_owner",
    "is_unsent",
    "step_from",
    "was_asked_for",
]

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 20.0
"""An owner that has been silent for four heartbeats is gone. A wrong guess costs nothing: every step is fenced."""

UNSETTLED = (BatchStatus.QUEUED, BatchStatus.PROCESSING, BatchStatus.DOWNLOADING)


class Step(enum.StrEnum):
    """Next step of a batch."""

    UPLOAD = "upload"
    DECIDE = "decide"
    POLL = "poll"
    LOAD = "load"
    NOTHING = "nothing"


@dataclass(frozen=True)
class BatchTitle:
    """A batch by its row, its addresses, and whose they are; its text is what people see of it.

    Attributes:
        priority: How urgent it is.
        account: The account that it is sent with.
        runs: How many runs have taken it so far.
        in_flight: Whether Bouncer has it, or may have it.
        realtime: Whether its addresses are asked for one by one, without a slot.
    """

    id: int
    quantity: int
    request_id: int
    priority: int
    account: str = "default"
    runs: int = 0
    in_flight: bool = False
    realtime: bool = False

    def __str__(self) -> str:
        return f"batch {self.id}: {self.quantity:,} contacts of request {self.request_id}"


@dataclass(frozen=True)
class BatchWork:
    """A batch as its owner sees it.

    Attributes:
        id: The row in ``Bouncer_Batches``.
        owner: The token of the present owner.
        batch_id: Bouncer's id, once the upload was answered.
        quantity: Addresses in it, each once.
        step: What it needs next. DECIDE: an upload was begun and its answer never recorded.
        in_flight_seconds: Since the upload was answered, or, where the plan's own tables do not tell, since the row
            was made; 0 before the upload.
        idle_seconds: Since Bouncer last made progress with it, or, where that is not known, since the row was made.
        stale_lease: The slot lease of an earlier owner, to be given back.
        finishing: Whether Bouncer was asked to finish it early.
        split_from: The batch that this one is a part of, where Bouncer refused that one.
        layer: Which pass it is of.
        held: Whether it waits for a person, with all its lost uploads counted.
        realtime: Whether its addresses are asked for one by one.
        unanswered: How many of them an earlier run was waiting for when it died.
    """

    id: int
    owner: str
    batch_id: str | None
    account: str
    user_id: int
    request_id: int
    priority: int
    quantity: int
    processed: int
    step: Step
    in_flight_seconds: float
    idle_seconds: float
    ambiguous_uploads: int
    stale_lease: str | None
    finishing: bool
    split_from: int | None
    layer: Layer
    held: bool
    realtime: bool
    unanswered: int


def is_unsent() -> list[ColumnElement[bool]]:
    """The conditions for a batch that nobody works on and that Bouncer certainly never had."""
    return [
        Batch.status == BatchStatus.QUEUED,
        has_no_owner(),
        Batch.batch_id.is_(None),
        Batch.upload_begun_ts.is_(None),
        Batch.held_ts.is_(None),
        Batch.ambiguous_uploads == 0,
        not_(was_asked_for()),
    ]


def was_asked_for() -> ColumnElement[bool]:
    """The condition for a batch in real time of which some addresses have been sent."""
    return or_(Batch.processed > 0, Batch.unanswered > 0, Batch.ambiguous_addresses > 0)


def step_from(status: str, *, has_id: bool, begun: bool) -> Step:
    """Derives what a batch needs next from the columns of its row."""
    match status:
        # The plan's own code wrote Bouncer's status down: queued meant queued there.
        case BatchStatus.QUEUED | BatchStatus.PROCESSING if has_id:
            return Step.POLL
        case BatchStatus.QUEUED if begun:
            return Step.DECIDE
        case BatchStatus.QUEUED:
            return Step.UPLOAD
        case BatchStatus.DOWNLOADING:
            return Step.LOAD
        case _:
            return Step.NOTHING


def has_no_owner() -> ColumnElement[bool]:
    """Nobody works on the batch: it has no owner, or its owner has gone silent."""
    return or_(Batch.owner.is_(None), Batch.heartbeat_ts.is_(None), age_seconds(Batch.heartbeat_ts) > STALE_SECONDS)
