"""Never paying for what is known: earlier verdicts that are still fresh, and verdicts that are on their way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pandas as pd
from sqlalchemy import BigInteger, Connection, Integer, LargeBinary, Table, and_, case, func, or_, select, update
from sqlalchemy.types import TypeEngine

from bouncer.dialects import database_now, insert_ignoring
from bouncer.staging import stage
from bouncer.tables import Batch, BatchStatus, Contact, QueuedContact, QueueStatus, Result

__all__ = ["FreshFor", "join_batches_in_flight", "reuse_verdicts"]

_CLAIMED: dict[str, TypeEngine[Any]] = {
    "queue_id": Integer(),
    "global_id": BigInteger(),
    "address_key": LargeBinary(16),
}
# For MariaDB and MySQL: where most contacts have no key yet, these hold a search by it for a search of all contacts.
_BY_KEY = "FORCE INDEX (idx_bouncer_address_key)"
_VERDICT_COLUMNS = [c.name for c in Result.__table__.columns if c.name not in {"batch_id", "global_id"}]
_LATEST = ["bouncer_status", "bouncer_reason", "bouncer_score", "bouncer_verified_ts"]


@dataclass(frozen=True)
class FreshFor:
    """For how many days a verdict stays good.

    Attributes:
        days: For verdicts in general; 0 means that every address is verified anew.
        by_status: Shorter times for some: a risky address changes sooner, an unknown one was never verified.
    """

    days: float = 90
    by_status: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({"risky": 30, "unknown": 0}))


def reuse_verdicts(connection: Connection, contacts: pd.DataFrame, fresh_for: FreshFor) -> set[int]:
    """Settles contacts whose address has a verdict that is still fresh, on whichever contact it is.

    Args:
        connection: In a transaction that writes.
        contacts: Columns ``queue_id``, ``global_id``, ``key``.
        fresh_for: How long verdicts stay good.

    Returns:
        The ``queue_id`` of the contacts that were settled.
    """
    if contacts.empty or fresh_for.days <= 0:
        return set()
    claimed = _stage(connection, "reuse_claimed", contacts)
    now = database_now(connection)
    short = {status: min(days, fresh_for.days) for status, days in fresh_for.by_status.items()}
    fresh = or_(
        and_(
            Contact.bouncer_status.not_in(list(short)),
            Contact.bouncer_verified_ts >= now - timedelta(days=fresh_for.days),
        ),
        *(
            and_(Contact.bouncer_status == status, Contact.bouncer_verified_ts >= now - timedelta(days=days))
            for status, days in short.items()
            if days > 0
        ),
    )
    found = pd.DataFrame(
        connection.execute(
            select(
                claimed.c.queue_id,
                claimed.c.global_id,
                Contact.global_id.label("source_id"),
                Contact.bouncer_verified_ts,
                select(func.max(Result.batch_id))
                .where(Result.global_id == Contact.global_id)
                .correlate(Contact)
                .scalar_subquery()
                .label("batch_id"),
            )
            .join(Contact, Contact.bouncer_address_key == claimed.c.address_key)
            .with_hint(Contact, _BY_KEY)
            .where(fresh)
        ),
        columns=["queue_id", "global_id", "source_id", "verified", "batch_id"],
    )
    if found.empty:
        return set()
    latest = found.sort_values(["verified", "source_id"]).drop_duplicates("queue_id", keep="last")
    columns = dict.fromkeys(["queue_id", "global_id", "source_id", "batch_id"], BigInteger())
    _settle(connection, stage(connection, "reuse_found", columns, latest))
    return set(latest["queue_id"])


def join_batches_in_flight(connection: Connection, contacts: pd.DataFrame) -> set[int]:
    """Lets contacts whose address is in a batch under way wait for that batch's verdict.

    The batches are locked, so that none is loaded between the look and the joining.

    Args:
        connection: In a transaction that writes.
        contacts: Columns ``queue_id``, ``global_id``, ``key``.

    Returns:
        The ``queue_id`` of contacts that must not go into a batch of their own. Those whose twin is being loaded
        right now stay in the queue: the next claim finds the verdict.
    """
    if contacts.empty:
        return set()
    claimed = _stage(connection, "join_claimed", contacts)
    # The status in no condition and the queue in no join: each leads one of the databases to compare every assigned
    # contact with every claimed one.
    in_flight = (
        select(func.max(case((QueuedContact.status == QueueStatus.ASSIGNED, QueuedContact.batch_id))))
        .where(QueuedContact.global_id == Contact.global_id)
        .correlate(Contact)
        .scalar_subquery()
    )
    twins = pd.DataFrame(
        connection.execute(
            select(claimed.c.queue_id, in_flight)
            .join(Contact, Contact.bouncer_address_key == claimed.c.address_key)
            .with_hint(Contact, _BY_KEY)
        ),
        columns=["queue_id", "batch_id"],
    )
    twins = twins.dropna().drop_duplicates("queue_id")
    if twins.empty:
        return set()
    waiting = connection.scalars(
        select(Batch.id)
        .where(
            Batch.id.in_([int(id_) for id_ in twins["batch_id"].unique()]),
            Batch.status.in_([BatchStatus.QUEUED, BatchStatus.PROCESSING]),
        )
        .with_for_update()
    ).all()
    joining = twins[twins["batch_id"].isin(waiting)]
    if not joining.empty:
        staged = stage(connection, "join_joining", {"queue_id": Integer(), "batch_id": Integer()}, joining)
        connection.execute(
            update(QueuedContact)
            .where(QueuedContact.queue_id == staged.c.queue_id)
            .values(status=QueueStatus.ASSIGNED, batch_id=staged.c.batch_id, assigned_ts=func.current_timestamp())
        )
    return set(twins["queue_id"])


def _stage(connection: Connection, name: str, contacts: pd.DataFrame) -> Table:
    frame = contacts[["queue_id", "global_id", "key"]].rename(columns={"key": "address_key"})
    return stage(connection, name, _CLAIMED, frame)


def _settle(connection: Connection, found: Table) -> None:
    source = Contact.__table__.alias("source")
    other = found.c.source_id != found.c.global_id
    for statement in (
        # A contact of its own gets the verdict as its twin has it; the detailed one under the batch that paid.
        insert_ignoring(connection, Result).from_select(
            ["batch_id", "global_id", *_VERDICT_COLUMNS],
            select(found.c.batch_id, found.c.global_id, *(getattr(Result, name) for name in _VERDICT_COLUMNS))
            .join(Result, and_(Result.batch_id == found.c.batch_id, Result.global_id == found.c.source_id))
            .where(other),
        ),
        update(Contact)
        .where(Contact.global_id == found.c.global_id, source.c.global_id == found.c.source_id, other)
        .values({name: source.c[name] for name in _LATEST}),
        update(QueuedContact)
        .where(QueuedContact.queue_id == found.c.queue_id)
        .values(
            status=QueueStatus.COMPLETED,
            batch_id=found.c.batch_id,
            reused=True,
            error_message=None,
            assigned_ts=func.current_timestamp(),
            completed_ts=func.current_timestamp(),
        ),
    ):
        connection.execute(statement)
