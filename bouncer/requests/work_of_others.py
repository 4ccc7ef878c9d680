"""Work that other runs did while one ran: what came about meanwhile is no one run's alone, and is claimed once."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, func, or_, select

from bouncer.batches.state import UNSETTLED, is_in
from bouncer.requests.counting import Progress, count_contacts, count_credits
from bouncer.storage.tables import Batch, Layer, QueuedContact, QueueStatus
from bouncer.storage.transactions import reading

__all__ = ["Standing", "WorkSince", "stand", "work_since"]


@dataclass(frozen=True)
class Standing:
    """The contacts and batches as they stood when a run began.

    Attributes:
        request_id: The one request that it looks at, or None for all.
        layer: The one layer, or None for both.
        contacts: Its contacts by where they stood.
        credits: The cost of its batches.
        last_batch: The highest number of a batch, of whichever request.
        unsettled: The batches that were not settled.
    """

    request_id: int | None
    layer: Layer | None
    contacts: Progress
    credits: int
    last_batch: int
    unsettled: frozenset[int]

    def is_before(self, batches: Collection[int]) -> bool:
        """Tells whether all of some batches were made later."""
        return all(batch > self.last_batch for batch in batches)


@dataclass(frozen=True)
class WorkSince:
    """The work of a run since it began, without that of others meanwhile.

    Attributes:
        verified: Contacts that got a verdict.
        failed: Contacts that failed.
        credits: The cost of its batches.
        contacts: All contacts by where they stand now.
    """

    verified: int
    failed: int
    credits: int
    contacts: Progress


@reading
def stand(connection: Connection, request_id: int | None, layer: Layer | None) -> Standing:
    """Notes how contacts and batches stand, at one moment."""
    return Standing(
        request_id,
        layer,
        count_contacts(connection, request_id, layer),
        count_credits(connection, request_id, layer),
        connection.scalar(select(func.max(Batch.id))) or 0,
        frozenset(connection.scalars(select(Batch.id).where(is_in(*UNSETTLED)))),
    )


@reading
def work_since(connection: Connection, began: Standing, own: Collection[int], reused: int) -> WorkSince:
    """Counts what came about since, less what batches came to that others settled.

    Args:
        connection: Any; all of it is read at one moment.
        began: The standing when the run began.
        own: The batches that it worked on.
        reused: Contacts that it settled from known verdicts.
    """
    now = count_contacts(connection, began.request_id, began.layer)
    spent = count_credits(connection, began.request_id, began.layer) - began.credits
    others = _of_others(connection, began, own)
    verified = max(now.completed - began.contacts.completed - others.verified, 0)
    return WorkSince(
        # Without a batch of its own, it has settled what it knew already, and nothing else.
        verified=verified if own else min(reused, verified),
        # Less than none where a request with failed contacts was cancelled meanwhile.
        failed=max(now.failed - began.contacts.failed - others.failed, 0),
        # Less than before where an application has deleted a request with its batches.
        credits=max(spent - others.credits, 0),
        contacts=now,
    )


@dataclass(frozen=True)
class _OfOthers:
    verified: int = 0
    failed: int = 0
    credits: int = 0


def _of_others(connection: Connection, began: Standing, own: Collection[int]) -> _OfOthers:
    settled = connection.execute(
        select(
            Batch.id,
            Batch.request_id,
            Batch.layer,
            func.coalesce(Batch.credits, Batch.expected_credits, 0).label("cost"),
        ).where(~is_in(*UNSETTLED), or_(Batch.id > began.last_batch, Batch.id.in_(began.unsettled)))
    ).all()
    theirs = [batch for batch in settled if batch.id not in own]
    if not theirs:
        return _OfOthers()
    among = [] if began.request_id is None else [QueuedContact.request_id + 0 == began.request_id]
    among += [] if began.layer is None else [QueuedContact.layer == began.layer]
    counts = connection.execute(
        select(QueuedContact.status, func.count())
        .where(QueuedContact.batch_id.in_([batch.id for batch in theirs]), QueuedContact.reused.is_not(True), *among)
        .group_by(QueuedContact.status)
    )
    by_status = {str(status): int(count) for status, count in counts}
    return _OfOthers(
        by_status.get(QueueStatus.COMPLETED, 0),
        by_status.get(QueueStatus.FAILED, 0),
        sum(
            int(batch.cost)
            for batch in theirs
            if began.request_id in {None, batch.request_id} and began.layer in {None, batch.layer}
        ),
    )
