"""The transitions of a batch, declared: from which state to which, who may, and what has happened.

``transitions`` carries them out, and nothing else changes a state; docs/reference/states.md is made from this table.
"""

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_

from bouncer.batches.ownership import has_no_owner
from bouncer.batches.state import AWAITS_UPLOAD, POLLED, UNSETTLED, WITHOUT_ID, BatchState, is_in

__all__ = [
    "ANSWERS",
    "ASKED_ALL",
    "BEGIN_ASKING",
    "BEGIN_UPLOAD",
    "CLOSE_EMPTY",
    "DISSOLVE",
    "FAIL",
    "LOADED",
    "LOSE",
    "LOST_ANSWERS",
    "LOST_UPLOAD",
    "MAKE",
    "REFUSED_UPLOAD",
    "RESEND_HELD",
    "RETURN_UNSENT",
    "RUNS",
    "SPLIT",
    "TRANSITIONS",
    "UPLOADED",
    "VERIFIED",
    "WITHDRAW",
    "WITHDRAW_HELD",
    "WITHDRAW_LEFT",
    "By",
    "Transition",
]


class By(enum.StrEnum):
    """The one who may bring a transition about."""

    OWNER = "the owner"
    SUCCESSOR = "anyone, once no living owner works on it"
    ANYONE = "anyone"
    PERSON = "a person"


@dataclass(frozen=True, eq=False)
class Transition:
    """A change of a batch's state.

    Attributes:
        name: What it is called.
        moves: The states that it leads from, each with those that it leads to; None where the row is deleted.
        by: Who may.
        when: What has happened.
    """

    name: str
    moves: Mapping[BatchState, tuple[BatchState | None, ...]]
    by: By
    when: str

    @property
    def sources(self) -> frozenset[BatchState]:
        """The states that it leads from."""
        return frozenset(self.moves)

    @property
    def applies(self) -> ColumnElement[bool]:
        """The condition for a batch that may make it, but for the token of its owner."""
        condition = is_in(*self.moves)
        return and_(condition, has_no_owner()) if self.by is By.SUCCESSOR else condition


_READY, _TO_RESEND, _UPLOADING, _HELD, _ASKING = (
    BatchState.READY,
    BatchState.TO_RESEND,
    BatchState.UPLOADING,
    BatchState.HELD,
    BatchState.ASKING,
)
_QUEUED, _RUNNING, _VERIFIED = BatchState.QUEUED_AT_BOUNCER, BatchState.RUNNING_AT_BOUNCER, BatchState.VERIFIED
_COMPLETED, _FAILED = BatchState.COMPLETED, BatchState.FAILED


def _all(
    states: Collection[BatchState], *targets: BatchState | None
) -> dict[BatchState, tuple[BatchState | None, ...]]:
    return {state: targets for state in BatchState if state in states}


MAKE = Transition("make", {}, By.ANYONE, "A claim, or the parting of a refused batch, assigns contacts to it.")
BEGIN_UPLOAD = Transition(
    "begin upload",
    # From UPLOADING: the client tries again after an answer that was certainly a refusal.
    _all({*AWAITS_UPLOAD, _UPLOADING}, _UPLOADING),
    By.OWNER,
    "It is admitted; committed before the first byte is sent.",
)
REFUSED_UPLOAD = Transition(
    "upload refused",
    {_UPLOADING: (_READY, _TO_RESEND), _READY: (_READY,), _TO_RESEND: (_TO_RESEND,)},
    By.OWNER,
    "Bouncer certainly does not have it.",
)
LOST_UPLOAD = Transition(
    "upload lost",
    {_UPLOADING: (_TO_RESEND, _HELD)},
    By.OWNER,
    "The answer never came; it is counted as possibly paid, and AMBIGUOUS_UPLOAD decides.",
)
RESEND_HELD = Transition(
    "resend held",
    {_HELD: (_TO_RESEND, _ASKING)},
    By.PERSON,
    "A person accepts that it may be paid twice: bouncer-flows requeue --held.",
)
UPLOADED = Transition(
    "uploaded",
    # A run that lost its batch while it uploaded still records the id, whatever its successor has come to.
    _all(WITHOUT_ID - {_ASKING}, _QUEUED),
    By.ANYONE,
    "Bouncer answers the upload with its id, or its callback names the id.",
)
RUNS = Transition(
    "runs",
    _all(POLLED, _RUNNING),
    By.OWNER,
    "Bouncer's status says that it has started, or that addresses are verified.",
)
VERIFIED = Transition(
    "verified",
    _all({*POLLED, _VERIFIED}, _VERIFIED),
    By.OWNER,
    "Bouncer has completed it.",
)
LOADED = Transition("loaded", {_VERIFIED: (_COMPLETED,)}, By.OWNER, "Its verdicts are stored.")
BEGIN_ASKING = Transition(
    "begin asking",
    _all({_READY, _ASKING}, _ASKING),
    By.OWNER,
    "The next addresses are asked for in real time; committed before they are sent.",
)
ANSWERS = Transition(
    "answers stored",
    {_ASKING: (_ASKING, _READY, _HELD)},
    By.OWNER,
    "What came of the addresses that were asked for is stored.",
)
LOST_ANSWERS = Transition(
    "answers lost",
    {_ASKING: (_ASKING, _HELD)},
    By.OWNER,
    "An earlier run died waiting for them; they are counted as possibly paid, and AMBIGUOUS_UPLOAD decides.",
)
ASKED_ALL = Transition(
    "asked all",
    _all({_READY, _ASKING}, _COMPLETED),
    By.OWNER,
    "None of its contacts waits any more.",
)
DISSOLVE = Transition(
    "dissolve",
    {_READY: (None,), **_all({_TO_RESEND, _UPLOADING, _ASKING}, _FAILED)},
    By.OWNER,
    "It cannot be sent (no credits, no addresses left, its request cancelled); its contacts are requeued.",
)
RETURN_UNSENT = Transition(
    "return unsent",
    {_READY: (None,)},
    By.SUCCESSOR,
    "Its account cannot send; its contacts are requeued for other accounts.",
)
WITHDRAW = Transition(
    "withdraw",
    {_READY: (None,), _TO_RESEND: (_FAILED,)},
    By.ANYONE,
    "Its request is cancelled. A run that works on it finds it gone before it could send anything.",
)
WITHDRAW_LEFT = Transition(
    "withdraw left behind",
    {_ASKING: (_FAILED,)},
    By.SUCCESSOR,
    "Its request is cancelled. A living run first stores what it has asked for.",
)
WITHDRAW_HELD = Transition(
    "withdraw held",
    {_HELD: (_FAILED,)},
    By.ANYONE,
    "Its request is cancelled, so that there is nothing to decide any more.",
)
LOSE = Transition(
    "lose",
    _all({*POLLED, _VERIFIED}, _FAILED),
    By.OWNER,
    "Bouncer does not have it any more, or its verdicts cannot be had; its contacts are requeued.",
)
FAIL = Transition("fail", _all(WITHOUT_ID - {_HELD}, _FAILED), By.OWNER, "It will never be taken; its contacts fail.")
SPLIT = Transition(
    "split",
    _all({*AWAITS_UPLOAD, _UPLOADING}, _FAILED),
    By.OWNER,
    "Bouncer refuses it as a whole; two parts take its contacts.",
)
CLOSE_EMPTY = Transition("close empty", _all(UNSETTLED, _FAILED), By.SUCCESSOR, "Its contacts were deleted.")

TRANSITIONS = (
    MAKE,
    BEGIN_UPLOAD,
    REFUSED_UPLOAD,
    LOST_UPLOAD,
    RESEND_HELD,
    UPLOADED,
    RUNS,
    VERIFIED,
    LOADED,
    BEGIN_ASKING,
    ANSWERS,
    LOST_ANSWERS,
    ASKED_ALL,
    DISSOLVE,
    RETURN_UNSENT,
    WITHDRAW,
    WITHDRAW_LEFT,
    WITHDRAW_HELD,
    LOSE,
    FAIL,
    SPLIT,
    CLOSE_EMPTY,
)
"""All of them, in the order of a batch's life; as docs/reference/states.md lists them."""
