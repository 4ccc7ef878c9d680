"""The state of a batch: its one definition, for SQL and for Python, and every question that is answered by it.

A state follows from columns of the batch's row. Only this module reads these columns and only ``transitions`` writes
them; all others ask here.
"""

import enum
from collections.abc import Set
from dataclasses import dataclass
from functools import cache

from sqlalchemy import ColumnElement, and_, case, false, literal, or_

from bouncer.plurals import counted
from bouncer.storage.dialects import age_seconds
from bouncer.storage.tables import Batch, BatchStatus, Layer

__all__ = [
    "AT_BOUNCER",
    "AWAITS_UPLOAD",
    "BEFORE_VERDICTS",
    "IN_DOUBT",
    "IN_FLIGHT",
    "POLLED",
    "SETTLED",
    "UNSETTLED",
    "WITHOUT_ID",
    "BatchState",
    "BatchTitle",
    "BatchWork",
    "held_seconds",
    "is_called",
    "is_in",
    "state_of",
    "was_accepted",
]


class BatchState(enum.StrEnum):
    """The state of a batch, from its making to its end."""

    READY = "ready"
    """Bouncer never had any of it; the next run with room sends it."""

    TO_RESEND = "to be sent again"
    """The answer to an upload was lost and counted as possibly paid; the next run with room uploads it again."""

    UPLOADING = "uploading"
    """An upload has begun and its answer is not recorded: in doubt once its owner is dead."""

    HELD = "held"
    """An answer was lost, and a person decides."""

    ASKING = "in real time"
    """Some of its addresses were asked for in real time."""

    QUEUED_AT_BOUNCER = "queued at Bouncer"
    """Bouncer has it, it is paid for, and it waits there for what is ahead of it."""

    RUNNING_AT_BOUNCER = "running at Bouncer"
    """Bouncer verifies it."""

    VERIFIED = "verified"
    """Bouncer has completed it; its verdicts are loaded next."""

    COMPLETED = "completed"
    """Its verdicts are stored."""

    FAILED = "failed"
    """It ended without verdicts, or with a part of them; its row says why."""


SETTLED = frozenset({BatchState.COMPLETED, BatchState.FAILED})
"""At its end; nothing happens to it any more."""

UNSETTLED = frozenset(BatchState) - SETTLED
"""Not at its end."""

BEFORE_VERDICTS = UNSETTLED - {BatchState.VERIFIED}
"""Verdicts are still to be had."""

AWAITS_UPLOAD = frozenset({BatchState.READY, BatchState.TO_RESEND})
"""Bouncer has nothing of it at the moment, as far as is known; a run can send it."""

POLLED = frozenset({BatchState.QUEUED_AT_BOUNCER, BatchState.RUNNING_AT_BOUNCER})
"""Bouncer has answered the upload and is not done."""

IN_FLIGHT = POLLED | {BatchState.UPLOADING}
"""Takes one of the account's places at Bouncer."""

AT_BOUNCER = IN_FLIGHT | {BatchState.ASKING}
"""Bouncer has it, or may have it, and is not done."""

WITHOUT_ID = BEFORE_VERDICTS - POLLED
"""Bouncer's id of it is not known, or there is none."""

IN_DOUBT = frozenset({BatchState.UPLOADING, BatchState.HELD})
"""For a new owner: Bouncer may have it, and AMBIGUOUS_UPLOAD or a person decides what becomes of it."""

_OPEN = (BatchStatus.QUEUED, BatchStatus.PROCESSING)
# The plan's own code wrote Bouncer's status down: queued meant queued there. So the id tells the two apart.
_HAS_ID = Batch.bouncer_id.is_not(None)
_IS_HELD = Batch.held_ts.is_not(None)
_HAS_BEGUN = Batch.upload_begun_ts.is_not(None)
_WAS_ASKED = Batch.realtime & or_(Batch.processed > 0, Batch.unanswered > 0, Batch.ambiguous_addresses > 0)
_HAS_LOST = Batch.ambiguous_uploads > 0
_RUNS = Batch.running_ts.is_not(None)

_STATUSES: dict[BatchState, tuple[BatchStatus, ...]] = {
    BatchState.VERIFIED: (BatchStatus.DOWNLOADING,),
    BatchState.COMPLETED: (BatchStatus.COMPLETED,),
    BatchState.FAILED: (BatchStatus.FAILED,),
}
_CONDITIONS: dict[BatchState, ColumnElement[bool]] = {
    BatchState.READY: and_(~_HAS_ID, ~_IS_HELD, ~_HAS_BEGUN, ~_WAS_ASKED, ~_HAS_LOST),
    BatchState.TO_RESEND: and_(~_HAS_ID, ~_IS_HELD, ~_HAS_BEGUN, ~_WAS_ASKED, _HAS_LOST),
    BatchState.UPLOADING: and_(~_HAS_ID, ~_IS_HELD, _HAS_BEGUN),
    BatchState.HELD: and_(~_HAS_ID, _IS_HELD),
    BatchState.ASKING: and_(~_HAS_ID, ~_IS_HELD, ~_HAS_BEGUN, _WAS_ASKED),
    BatchState.QUEUED_AT_BOUNCER: and_(_HAS_ID, ~_RUNS),
    BatchState.RUNNING_AT_BOUNCER: and_(_HAS_ID, _RUNS),
}


@cache
def is_in(*states: BatchState) -> ColumnElement[bool]:
    """The condition for a batch that is in one of some states.

    The statuses come first, by which the indexes go; nothing else is asked where they tell all.
    """
    statuses = {status for state in states for status in _STATUSES.get(state, _OPEN)}
    by_status = _has_status(statuses)
    details = [_CONDITIONS[state] for state in BatchState if state in states and state in _CONDITIONS]
    if len(details) in {0, len(_CONDITIONS)}:
        return by_status
    whole = _has_status(statuses - set(_OPEN)) if statuses - set(_OPEN) else false()
    return and_(by_status, or_(whole, *details))


def _has_status(statuses: Set[BatchStatus]) -> ColumnElement[bool]:
    # Of parameters, whose number is known: plain values would be counted, and the statement written anew, at each use.
    return Batch.status.in_([literal(status, Batch.status.type) for status in sorted(statuses)])


@cache
def state_of() -> ColumnElement[str]:
    """The state of a batch as a column, labelled ``state``; its values are those of ``BatchState``."""
    return case(*((is_in(state), literal(state.value)) for state in BatchState)).label("state")


def held_seconds() -> ColumnElement[float]:
    """The seconds that a batch has waited for a person."""
    return age_seconds(Batch.held_ts)


def was_accepted() -> ColumnElement[bool]:
    """The condition for a batch that Bouncer has given an id, whatever became of it since."""
    return _HAS_ID


def is_called() -> ColumnElement[bool]:
    """The condition for a batch whose callback has come."""
    return Batch.callback_ts.is_not(None)


@dataclass(frozen=True)
class BatchTitle:
    """A batch by its row, its addresses, and whose they are; its text is what people see of it.

    Attributes:
        priority: How urgent it is.
        account: The account that it is sent with.
        runs: How many runs have taken it so far.
        state: Its state when it was looked at.
        realtime: Whether its addresses are asked for one by one, without a slot.
    """

    id: int
    quantity: int
    request_id: int
    priority: int
    account: str = "default"
    runs: int = 0
    state: BatchState = BatchState.READY
    realtime: bool = False

    def __str__(self) -> str:
        return f"batch {self.id}: {counted(self.quantity, 'contact')} of request {self.request_id}"


@dataclass(frozen=True)
class BatchWork:
    """A batch as its owner sees it.

    Attributes:
        id: The row in ``Bouncer_Batches``.
        owner: The token of the present owner.
        bouncer_id: Bouncer's id, once the upload was answered.
        quantity: Addresses in it, each once.
        state: Its state when the owner took it.
        in_flight_seconds: Since the upload was answered, or, where the plan's own tables do not tell, since the row
            was made; 0 before the upload.
        idle_seconds: Since Bouncer last made progress with it, or, where that is not known, since the row was made.
        stale_lease: The slot lease of an earlier owner, to be given back.
        finishing: Whether Bouncer was asked to finish it early.
        split_from: The batch that this one is a part of, where Bouncer refused that one.
        layer: Which pass it is of.
        realtime: Whether its addresses are asked for one by one.
        unanswered: How many of them an earlier run was waiting for when it died.
    """

    id: int
    owner: str
    bouncer_id: str | None
    account: str
    user_id: int
    request_id: int
    priority: int
    quantity: int
    processed: int
    state: BatchState
    in_flight_seconds: float
    idle_seconds: float
    ambiguous_uploads: int
    stale_lease: str | None
    finishing: bool
    split_from: int | None
    layer: Layer
    realtime: bool
    unanswered: int
