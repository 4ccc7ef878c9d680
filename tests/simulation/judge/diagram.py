"""The states of a batch and the ways between them, as docs/reference/states.md has them, read from its row."""

from typing import Any, NamedTuple

__all__ = ["EDGES", "GONE", "NEW", "SELECT", "Row", "state_of"]

NEW, GONE = "new", "gone"

_READY, _RESEND, _UPLOADING, _HELD, _ASKING = "ready", "to be sent again", "uploading", "held", "in real time"
_QUEUED, _RUNNING, _VERIFIED = "queued at Bouncer", "running at Bouncer", "verified"
_COMPLETED, _FAILED = "completed", "failed"

EDGES = frozenset(
    {
        (NEW, _READY),
        (_READY, _UPLOADING),
        (_RESEND, _UPLOADING),
        (_UPLOADING, _READY),
        (_UPLOADING, _RESEND),
        (_UPLOADING, _HELD),
        (_HELD, _RESEND),
        (_HELD, _ASKING),
        (_READY, _QUEUED),
        (_RESEND, _QUEUED),
        (_UPLOADING, _QUEUED),
        (_HELD, _QUEUED),
        (_QUEUED, _RUNNING),
        (_QUEUED, _VERIFIED),
        (_RUNNING, _VERIFIED),
        (_VERIFIED, _COMPLETED),
        (_READY, _ASKING),
        (_ASKING, _READY),
        (_ASKING, _HELD),
        (_READY, _COMPLETED),
        (_ASKING, _COMPLETED),
        (_READY, GONE),
        (_RESEND, _FAILED),
        (_UPLOADING, _FAILED),
        (_ASKING, _FAILED),
        (_HELD, _FAILED),
        (_QUEUED, _FAILED),
        (_RUNNING, _FAILED),
        (_VERIFIED, _FAILED),
        (_READY, _FAILED),
    }
)
"""All that can become of a batch in one transaction."""

SELECT = (
    "SELECT id, status, batch_id, running_ts IS NOT NULL, held_ts IS NOT NULL, upload_begun_ts IS NOT NULL, realtime,"
    " processed > 0 OR unanswered > 0 OR ambiguous_addresses > 0, ambiguous_uploads FROM Bouncer_Batches"
)


class Row(NamedTuple):
    """What of a batch's row its state follows from."""

    id: int
    status: str
    bouncer_id: str | None
    runs: int
    is_held: int
    has_begun: int
    realtime: int
    was_asked: int
    lost: int


def state_of(row: tuple[Any, ...]) -> str:
    """Reads the state of a batch from what SELECT has of its row."""
    one = Row(*row)
    if one.status in {"downloading", "completed", "failed"}:
        return {"downloading": _VERIFIED, "completed": _COMPLETED, "failed": _FAILED}[one.status]
    if one.bouncer_id is not None:
        return _RUNNING if one.runs else _QUEUED
    if one.is_held:
        return _HELD
    if one.has_begun:
        return _UPLOADING
    if one.realtime and one.was_asked:
        return _ASKING
    return _RESEND if one.lost else _READY
