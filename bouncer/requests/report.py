"""Report on a complete request: its verdicts, its batches, their cost and the time taken."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from bouncer.batches.state import BatchState, is_in
from bouncer.requests.counting import count_credits, count_verdicts
from bouncer.requests.progress import Completion
from bouncer.storage.dialects import age_seconds
from bouncer.storage.tables import Batch, Request
from bouncer.storage.transactions import reading

__all__ = ["RequestReport", "report_request"]


@dataclass(frozen=True)
class RequestReport:
    """Report on a complete request.

    Attributes:
        completion: How many of its contacts ended how.
        verdicts: Contacts by verdict, the most frequent first.
        batches: Batches that were verified for it; contacts may have had their verdict from others' batches too.
        credits: What these batches cost.
        seconds: From its first batch to its last verdict, or None where it needed no batch.
    """

    completion: Completion
    verdicts: dict[str, int]
    batches: int
    credits: int
    seconds: float | None

    @property
    def contacts_a_minute(self) -> float | None:
        """Contacts verified a minute; None where the time is too short, since the database counts whole seconds."""
        return 60 * self.completion.done / self.seconds if self.seconds else None


@reading
def report_request(connection: Connection, completion: Completion) -> RequestReport:
    """Adds up what a request came to that is complete."""
    of_request = Batch.request_id == completion.request_id
    first = select(func.min(Batch.created_ts)).where(of_request).scalar_subquery()
    seconds = connection.scalar(
        select(age_seconds(first) - age_seconds(Request.bouncer_completed_ts)).where(
            Request.request_id == completion.request_id
        )
    )
    verified = select(func.count()).where(of_request, is_in(BatchState.COMPLETED))
    return RequestReport(
        completion,
        count_verdicts(connection, completion.request_id),
        connection.scalar(verified) or 0,
        count_credits(connection, completion.request_id),
        None if seconds is None else float(seconds),
    )
