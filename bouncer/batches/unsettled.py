"""The batches that are not settled yet, of any number of accounts in one statement, and what each of them waits for."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, case, or_, select

from bouncer.batches.admission import held_uploads
from bouncer.batches.state import UNSETTLED, BatchTitle, has_no_owner, is_unsent, was_asked_for
from bouncer.storage.tables import Batch, BatchStatus

__all__ = ["Unsettled", "ownerless", "unsettled"]


@dataclass(frozen=True)
class Unsettled:
    """A batch that is not settled.

    Attributes:
        title: The batch.
        is_owned: Whether a living owner works on it.
        is_held: Whether it waits for a person, and Bouncer has not called for it.
        is_at_bouncer: Whether Bouncer certainly has it.
        is_unsent: Whether nobody works on it and Bouncer certainly never had it.
        held_uploads: How many uploads of it count as in flight while it waits for a person.
    """

    title: BatchTitle
    is_owned: bool
    is_held: bool
    is_at_bouncer: bool
    is_unsent: bool
    held_uploads: int

    @property
    def is_left_behind(self) -> bool:
        """True if the next run is to take the batch up."""
        return not (self.is_owned or self.is_held)


def unsettled(connection: Connection, accounts: Collection[str], *where: ColumnElement[bool]) -> list[Unsettled]:
    """All batches of some accounts that are not settled, most urgent and oldest first.

    They are as many as the slots and a few more; held ones stay until a person decides.

    Args:
        connection: In a transaction.
        accounts: The accounts that they are sent with.
        where: Only those that meet these conditions.
    """
    called = Batch.callback_ts.is_not(None)
    query = select(
        Batch.id,
        Batch.quantity,
        Batch.request_id,
        Batch.priority,
        Batch.account,
        Batch.retry_count,
        or_(Batch.batch_id.is_not(None), Batch.upload_begun_ts.is_not(None), was_asked_for()),
        Batch.realtime,
        has_no_owner(),
        and_(Batch.held_ts.is_not(None), ~called),
        or_(Batch.batch_id.is_not(None), called),
        and_(*is_unsent()),
        case((Batch.status == BatchStatus.QUEUED, held_uploads()), else_=0),
    ).where(Batch.account.in_(accounts), Batch.status.in_(UNSETTLED), *where)
    rows = connection.execute(query.order_by(Batch.priority.desc(), Batch.id)).all()
    return [
        Unsettled(
            BatchTitle(*row[:8]),
            is_owned=not row[8],
            is_held=bool(row[9]),
            is_at_bouncer=bool(row[10]),
            is_unsent=bool(row[11]),
            held_uploads=int(row[12]),
        )
        for row in rows
    ]


def ownerless(
    connection: Connection, account: str, request_id: int | None = None, *, part_of: int | None = None
) -> list[BatchTitle]:
    """The batches that are not settled and that no living owner works on, most urgent and oldest first.

    Held ones (an upload of unknown outcome that waits for a person) are left out, unless Bouncer has called for them.

    Args:
        connection: In a transaction.
        account: The account that they are sent with.
        request_id: Only this request, or None for all.
        part_of: Only the parts of this batch, which Bouncer refused as a whole.
    """
    where = [] if request_id is None else [Batch.request_id == request_id]
    where += [] if part_of is None else [Batch.split_from == part_of]
    return [batch.title for batch in unsettled(connection, [account], *where) if batch.is_left_behind]
