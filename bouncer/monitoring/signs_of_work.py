"""Signs that there is something to do, cheap enough to look for every second."""

from dataclasses import dataclass

from sqlalchemy import Connection, exists, func, select

from bouncer.batches.state import UNSETTLED, is_in
from bouncer.requests.counting import open_layers
from bouncer.storage.dialects import database_now
from bouncer.storage.tables import Alert, QueuedContact, SecondChance
from bouncer.storage.transactions import reading

__all__ = ["SignsOfWork", "signs_of_work"]


@dataclass(frozen=True)
class SignsOfWork:
    """The state of the queue at a moment.

    Attributes:
        newest: The number of the newest row of the queue; 0 where it has none.
        is_open: Whether contacts wait, batches are under way, or second chances have come.
        is_alarmed: Whether an alert is in force.
    """

    newest: int
    is_open: bool
    is_alarmed: bool


@reading
def signs_of_work(connection: Connection) -> SignsOfWork:
    """Looks at the queue, by seeks in indexes."""
    newest = connection.scalar(select(func.max(QueuedContact.queue_id)))
    due = SecondChance.try_again_ts <= database_now(connection)
    is_open = (
        bool(open_layers(connection))
        or bool(connection.scalar(select(exists().where(is_in(*UNSETTLED)))))
        or bool(connection.scalar(select(exists().where(due))))
    )
    alarmed = exists().where(Alert.began_ts.is_not(None), Alert.ended_ts.is_(None))
    return SignsOfWork(newest or 0, is_open, bool(connection.scalar(select(alarmed))))
