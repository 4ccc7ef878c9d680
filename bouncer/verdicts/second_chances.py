"""Second chances: contacts without a clear verdict are retried after a while, by themselves, a few times.

That a mail server was busy or grey-listed the question passes. Their request is complete all the same; nobody waits.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, DateTime, Integer, exists, func, select, true, update
from sqlalchemy.types import TypeEngine

from bouncer.storage.bulk import stage
from bouncer.storage.dialects import database_now, insert_ignoring
from bouncer.storage.tables import (
    Batch,
    Contact,
    Layer,
    QueuedContact,
    QueueStatus,
    Result,
    SecondChance,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Chances", "count_second_chances", "give_second_chances", "keep_verdicts"]

_STAGED: dict[str, TypeEngine[Any]] = {"queue_id": Integer(), "try_again_ts": DateTime()}


@dataclass(frozen=True)
class Chances:
    """Number and times of the second chances of contacts without a clear verdict.

    Attributes:
        most: How often, at most; 0 for never.
        hours: After how long, where Bouncer does not tell.
    """

    most: int = 2
    hours: float = 24.0


def give_second_chances(
    connection: Connection, batch_id: int, layer: Layer, settled: "pd.DataFrame", chances: Chances
) -> int:
    """Notes which of the contacts that got a verdict should be retried, and when.

    These are unknown ones, which cost nothing, and those for which Bouncer names a time, as for grey-listed ones; but
    not those that have a better verdict of the deep pass.

    Args:
        connection: In a transaction that writes.
        batch_id: The batch that the verdicts came with; they are written already.
        layer: Which pass it is of.
        settled: Columns ``queue_id``, ``bouncer_status`` and ``retry_after_ts`` (with time zone, or NULL).
        chances: How often and when.

    Returns:
        How many contacts without a clear verdict there were.
    """
    import pandas as pd

    unclear = settled[(settled["bouncer_status"] == "unknown") | settled["retry_after_ts"].notna()]
    if unclear.empty or chances.most < 1:
        return 0
    told = pd.to_datetime(unclear["retry_after_ts"], utc=True).dt.tz_localize(None)
    unless_told = database_now(connection) + timedelta(hours=chances.hours)
    frame = pd.DataFrame({"queue_id": unclear["queue_id"], "try_again_ts": told.fillna(unless_told)})
    staged = stage(connection, "second_chances", _STAGED, frame)
    counts: ColumnElement[bool] = true()
    if layer is Layer.BASIC:
        # A clear verdict of an earlier basic look stays too, but it is older: the address is asked for again.
        of_deep_pass = exists().where(Batch.id == Contact.bouncer_batch_id, Batch.layer == Layer.DEEP)
        counts = (
            exists()
            .where(
                QueuedContact.queue_id == staged.c.queue_id,
                Contact.global_id == QueuedContact.global_id,
                ~of_deep_pass.correlate(Contact),
            )
            .correlate(staged)
        )
    connection.execute(
        update(SecondChance)
        .where(SecondChance.queue_id == staged.c.queue_id, SecondChance.chances < chances.most, counts)
        .values(try_again_ts=staged.c.try_again_ts)
    )
    connection.execute(
        insert_ignoring(connection, SecondChance).from_select(
            ["queue_id", "try_again_ts"], select(staged.c.queue_id, staged.c.try_again_ts).where(counts)
        )
    )
    return len(unclear)


def keep_verdicts(connection: Connection, *of_contacts: ColumnElement[bool]) -> int:
    """Completes contacts again whose second chance has failed: they keep the verdict that they have.

    Args:
        connection: In a transaction that writes, in which they have failed.
        of_contacts: The conditions on the contacts in the queue.

    Returns:
        How many contacts it was.
    """
    its_last_batch = (
        select(func.max(Result.batch_id))
        .join(Batch, Batch.id == Result.batch_id)
        .where(Result.global_id == QueuedContact.global_id, Batch.layer == QueuedContact.layer)
        .correlate(QueuedContact)
        .scalar_subquery()
    )
    kept = connection.execute(
        update(QueuedContact)
        .where(
            *of_contacts,
            QueuedContact.status == QueueStatus.FAILED,
            QueuedContact.verdict_after_ts.is_not(None),
            exists().where(SecondChance.queue_id == QueuedContact.queue_id),
        )
        .values(status=QueueStatus.COMPLETED, batch_id=its_last_batch, error_message=None, cancelled=False)
    )
    return kept.rowcount


def count_second_chances(connection: Connection) -> int:
    """Counts the contacts that wait for the time of their second chance."""
    query = select(func.count()).select_from(SecondChance).where(SecondChance.try_again_ts.is_not(None))
    return connection.scalar(query) or 0
