"""Housekeeping: deletes rows past retention, a few thousand at a time, so that no lock is held for long.

What is looked for is read without locks; only the deletion of what was found is a transaction that writes.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, case, delete, func, select
from sqlalchemy.orm import InstrumentedAttribute

from bouncer.batches.state import SETTLED, is_in
from bouncer.batches.transition_table import CLOSE_EMPTY
from bouncer.storage.dialects import age_seconds, database_now, has_row
from bouncer.storage.tables import (
    Batch,
    CallCount,
    HealthMetric,
    QueuedContact,
    QueueStatus,
    RateLimitWindow,
    Result,
)
from bouncer.storage.transactions import reading, writing

__all__ = [
    "KEPT_UNLESS_TOLD",
    "OLD_ROWS",
    "OldRows",
    "Retention",
    "delete_results",
    "delete_rows",
    "find_batches_with_old_results",
    "find_empty_batches",
    "find_old_rows",
]

_CHUNK_ROWS = 2_000
_EMPTY_SECONDS = 3600.0
"""A batch that has had no contact for so long gets none any more."""


@dataclass(frozen=True)
class OldRows:
    """Rows that go by their age alone.

    Attributes:
        key: What they are deleted by: the primary key, or the first column of it.
        moment: The moment that they are of, in the order of their keys.
    """

    key: InstrumentedAttribute[Any]
    moment: InstrumentedAttribute[Any]


OLD_ROWS: dict[str, OldRows] = {
    "rate_limit_days": OldRows(RateLimitWindow.id, RateLimitWindow.window_end_ts),
    "call_days": OldRows(CallCount.window_start_ts, CallCount.window_start_ts),
    "metric_days": OldRows(HealthMetric.id, HealthMetric.recorded_ts),
}
"""By the field of ``Retention`` that tells the age."""


class Retention(BaseModel):
    """For how many days things are kept."""

    model_config = ConfigDict(frozen=True)

    rate_limit_days: int = Field(default=7, ge=1, le=3650, description="Counts of requests, one row a minute")
    call_days: int = Field(default=30, ge=1, le=3650, description="Counts of calls by outcome and duration")
    metric_days: int = Field(default=30, ge=1, le=3650, description="Figures of the system's health")
    result_days: int | None = Field(
        default=365,
        ge=1,
        le=3650,
        description="Detailed results; empty keeps them for ever. Never less than known verdicts are used again",
    )
    run_days: int = Field(default=30, ge=1, le=3650, description="Prefect's flow runs with their logs and artifacts")


KEPT_UNLESS_TOLD = Retention()
"""Retention that housekeeping uses by default."""


@reading
def find_old_rows(connection: Connection, old: OldRows, *, days: float, after: Any = None) -> list[Any]:
    """Finds the next rows that are older than so many days.

    Args:
        connection: In a transaction that only reads.
        old: What is looked for.
        days: Their age, in days of the database's clock.
        after: Only rows whose key is greater; None for all.

    Returns:
        Their keys in order, those of a chunk of rows at most; empty where there are none any more.
    """
    # No index has these moments, but the oldest rows come first: where the next ones are young, all others are.
    next_ones = select(old.key.label("key"), old.moment.label("moment")).order_by(old.key).limit(_CHUNK_ROWS)
    if after is not None:
        next_ones = next_ones.where(old.key > after)
    rows = next_ones.subquery().c
    young = database_now(connection) - timedelta(days=days)
    return list(connection.scalars(select(rows.key).distinct().where(rows.moment < young).order_by(rows.key)))


@writing
def delete_rows(connection: Connection, old: OldRows, keys: list[Any]) -> int:
    """Deletes rows by their keys, and returns how many there were. Safe to run twice."""
    return connection.execute(delete(old.key.class_).where(old.key.in_(keys))).rowcount


@reading
def find_batches_with_old_results(connection: Connection, *, days: float, after: int = 0) -> list[int]:
    """Finds the next batches that ended more than so many days ago and still have results.

    Args:
        connection: In a transaction that only reads.
        days: The age, in days of the database's clock.
        after: Only batches whose id is greater.

    Returns:
        Their ids in order, a chunk at most; empty where there are none any more.
    """
    # Batches from the plan's own tables may not tell their end.
    ended = func.coalesce(Batch.completed_ts, Batch.updated_ts)
    return list(
        connection.scalars(
            select(Batch.id)
            .where(
                Batch.id > after,
                is_in(*SETTLED),
                ended < database_now(connection) - timedelta(days=days),
                has_row(select(Result.global_id).where(Result.batch_id == Batch.id)),
            )
            .order_by(Batch.id)
            .limit(_CHUNK_ROWS)
        )
    )


@writing
def delete_results(connection: Connection, batch_id: int) -> int:
    """Deletes the next results of a batch, a chunk at most; contacts keep their latest verdict.

    Returns:
        How many; 0 where the batch has none any more.
    """
    of_batch = Result.batch_id == batch_id
    contacts = list(
        connection.scalars(select(Result.global_id).where(of_batch).order_by(Result.global_id).limit(_CHUNK_ROWS))
    )
    if not contacts:
        return 0
    stretch = Result.global_id.between(contacts[0], contacts[-1])
    return connection.execute(delete(Result).where(of_batch, stretch)).rowcount


@reading
def find_empty_batches(connection: Connection, account: str) -> list[tuple[int, str | None]]:
    """Finds batches whose contacts are gone, as when an application deletes contacts that are under way.

    Nobody waits for them, so no run would ever take them up, and those that Bouncer has would count as in flight for
    ever.

    Returns:
        Their rows' ids, with Bouncer's id where it has them.
    """
    # The status in no condition, by which MariaDB would read all contacts that are under way.
    waiting = (
        select(func.count(case((QueuedContact.status == QueueStatus.ASSIGNED, 1))))
        .where(QueuedContact.batch_id == Batch.id)
        .scalar_subquery()
    )
    query = select(Batch.id, Batch.bouncer_id).where(
        Batch.account == account,
        CLOSE_EMPTY.applies,
        age_seconds(Batch.updated_ts) > _EMPTY_SECONDS,
        waiting == 0,
    )
    return [(id_, bouncer_id) for id_, bouncer_id in connection.execute(query.order_by(Batch.id))]
