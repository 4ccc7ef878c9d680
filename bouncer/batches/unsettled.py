"""The batches that are not settled yet, of any number of accounts in one statement, and what each of them waits for."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, select

from bouncer.batches.admission import held_uploads
from bouncer.batches.ownership import has_no_owner
from bouncer.batches.state import UNSETTLED, WITHOUT_ID, BatchState, BatchTitle, is_called, is_in, state_of
from bouncer.storage.tables import Batch
from bouncer.storage.transactions import reading

__all__ = ["Unsettled", "ownerless", "unsettled"]


@dataclass(frozen=True)
class Unsettled:
    """A batch that is not settled.

    Attributes:
        title: The batch, with its state.
        is_owned: Whether a living owner works on it.
        is_called: Whether Bouncer has called for it, so that it certainly has it.
        held_uploads: How many uploads of it count as in flight while it waits for a person.
    """

    title: BatchTitle
    is_owned: bool
    is_called: bool
    held_uploads: int

    @property
    def is_left_behind(self) -> bool:
        """True if the next run is to take the batch up."""
        return not self.is_owned and (self.title.state is not BatchState.HELD or self.is_called)

    @property
    def goes_on_while_paused(self) -> bool:
        """True if nothing of it is to be sent any more: Bouncer has it certainly, or is done with it."""
        return self.title.state not in WITHOUT_ID or self.is_called

    @property
    def is_unsent(self) -> bool:
        """True if nobody works on it and Bouncer certainly never had it."""
        return not self.is_owned and self.title.state is BatchState.READY


@reading
def unsettled(connection: Connection, accounts: Collection[str], *where: ColumnElement[bool]) -> list[Unsettled]:
    """All batches of some accounts that are not settled, most urgent and oldest first.

    They are as many as the slots and a few more; held ones stay until a person decides.

    Args:
        connection: In a transaction.
        accounts: The accounts that they are sent with.
        where: Only those that meet these conditions.
    """
    query = _unsettled().where(*where) if where else _unsettled()
    rows = connection.execute(query, {"accounts": list(accounts)}).all()
    return [
        Unsettled(
            BatchTitle(
                row.id,
                row.quantity,
                row.request_id,
                row.priority,
                row.account,
                row.retry_count,
                BatchState(row.state),
                row.realtime,
            ),
            is_owned=not row.is_free,
            is_called=bool(row.is_called),
            held_uploads=int(row.held_uploads),
        )
        for row in rows
    ]


@cache
def _unsettled() -> Select[*tuple[Any, ...]]:
    return (
        select(
            Batch.id,
            Batch.quantity,
            Batch.request_id,
            Batch.priority,
            Batch.account,
            Batch.retry_count,
            state_of(),
            Batch.realtime,
            has_no_owner().label("is_free"),
            is_called().label("is_called"),
            held_uploads().label("held_uploads"),
        )
        .where(Batch.account.in_(bindparam("accounts", expanding=True)), is_in(*UNSETTLED))
        .order_by(Batch.priority.desc(), Batch.id)
    )


@reading
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
