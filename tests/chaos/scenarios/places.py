"""The statements at which transactions of a run can be stopped."""

from tests.chaos.breakpoints import Place

__all__ = [
    "AFTER_ANSWER",
    "AFTER_LOST_ANSWER",
    "BEFORE_UPLOAD",
    "CLOSING",
    "END_OF_LOAD",
    "IN_ANOTHER_LOAD",
    "IN_CLAIM",
    "IN_LOAD",
    "IN_SETTLING",
    "NEW_BATCH",
    "VERIFIED",
]

_BATCH = "UPDATE ON Bouncer_Batches"

NEW_BATCH = Place("INSERT ON Bouncer_Batches", "TRUE")
IN_CLAIM = Place("UPDATE ON Bouncer_Queue", "OLD.status = 'queued' AND NEW.status = 'assigned'")
BEFORE_UPLOAD = Place(_BATCH, "NEW.id = {batch} AND OLD.upload_begun_ts IS NULL AND NEW.upload_begun_ts IS NOT NULL")
AFTER_ANSWER = Place(_BATCH, "NEW.id = {batch} AND OLD.batch_id IS NULL AND NEW.batch_id IS NOT NULL")
AFTER_LOST_ANSWER = Place(_BATCH, "NEW.ambiguous_uploads > OLD.ambiguous_uploads")
VERIFIED = Place(_BATCH, "NEW.id = {batch} AND OLD.status = 'processing' AND NEW.status = 'downloading'")
IN_LOAD = Place("INSERT ON Bouncer_Results", "NEW.batch_id = {batch} AND NEW.global_id % 5 = 0")
IN_ANOTHER_LOAD = Place(IN_LOAD.event, "NEW.batch_id <> {batch} AND NEW.global_id % 5 = 0")
IN_SETTLING = Place("UPDATE ON Bouncer_Queue", "OLD.batch_id = {batch} AND NEW.status = 'completed'")
END_OF_LOAD = Place(_BATCH, "NEW.id = {batch} AND NEW.status = 'completed'")
CLOSING = Place(_BATCH, "OLD.status <> 'failed' AND NEW.status = 'failed'")
