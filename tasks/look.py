"""What is left to do, asked of the rows themselves; cheap enough to be asked all the time."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, exists, select

from blocks.access import Access
from bouncer import accounts, batches
from bouncer.batches import BatchTitle
from bouncer.tables import QueuedContact, QueueStatus
from tasks.crew import Crew

__all__ = ["Outlook", "look"]


@dataclass(frozen=True)
class Outlook:
    """What is left to do.

    Attributes:
        left_behind: Batches without a living owner.
        contacts_wait: Whether contacts wait in the queue.
        others_work: Whether living runs elsewhere work on batches.
        paused: Why no upload may begin, or None.
        room: How many more batches this run may take on.
    """

    left_behind: list[BatchTitle]
    contacts_wait: bool
    others_work: bool
    paused: str | None
    room: int

    @property
    def may_claim(self) -> bool:
        """Whether contacts should be claimed now."""
        return self.contacts_wait and self.paused is None and self.room > 0

    @property
    def is_over(self) -> bool:
        """Whether nothing is left that this run could do or should wait for."""
        return not self.left_behind and not self.others_work and (self.paused is not None or not self.contacts_wait)


async def look(access: Access, request_id: int | None, *, crew: Crew | None = None, slots: int = 0) -> Outlook:
    """Looks at what is left to do for one request, or for all.

    Args:
        access: The account and the database.
        request_id: Only this request, or None for all.
        crew: The batches that this run works on or has given up on; they count against its own size.
        slots: Where there is no crew, how many batches may be under way, wherever they are.
    """
    if crew is not None:
        return await access.read(_look, access.name, request_id, crew.known, crew.room)
    under_way = await access.read(batches.count_under_way, access.name)
    return await access.read(_look, access.name, request_id, (), slots - under_way)


def _look(connection: Connection, account: str, request_id: int | None, known: Collection[int], room: int) -> Outlook:
    state = accounts.read_state(connection, account)
    left_behind = batches.ownerless(connection, account, request_id, only_uploaded=state.paused_ts is not None)
    of_request = [] if request_id is None else [QueuedContact.request_id == request_id]
    waits = connection.scalar(select(exists().where(QueuedContact.status == QueueStatus.QUEUED, *of_request)))
    return Outlook(
        left_behind=[batch for batch in left_behind if batch.id not in known],
        contacts_wait=bool(waits),
        others_work=batches.count_owned(connection, account, besides=known) > 0,
        paused=None if state.paused_ts is None else f"paused by {state.paused_by}: {state.paused_reason}",
        room=room,
    )
