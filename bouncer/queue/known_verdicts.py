"""Never paying for what is known: earlier verdicts that are still fresh, and verdicts that are on their way."""

from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    LargeBinary,
    Select,
    Table,
    and_,
    case,
    func,
    select,
    update,
)
from sqlalchemy.types import TypeEngine

from bouncer.addresses.address_keys import BY_ADDRESS_KEY, VERDICT_OF_CONTACT
from bouncer.batches.state import UNSETTLED, is_in
from bouncer.storage.bulk import frame_of, stage
from bouncer.storage.dialects import database_now, insert_ignoring
from bouncer.storage.tables import Batch, Contact, Layer, QueuedContact, QueueStatus, Result
from bouncer.verdicts.freshness import FreshFor

__all__ = ["join_batches_in_flight", "reuse_verdicts"]

_CLAIMED: dict[str, TypeEngine[Any]] = {
    "queue_id": Integer(),
    "global_id": BigInteger(),
    "address_key": LargeBinary(16),
}
# Only MySQL reads it, to the others it is a comment: until it has counted the rows of a large import, it would read the
# whole queue for each contact. Without the index's name, which an adopted table may have chosen.
_BY_INDEX = f"/*+ JOIN_INDEX({QueuedContact.__tablename__}) */"
_VERDICT_COLUMNS = [c.name for c in Result.__table__.columns if c.name not in {"batch_id", "global_id"}]


def reuse_verdicts(
    connection: Connection, contacts: pd.DataFrame, fresh_for: FreshFor, layer: Layer = Layer.BASIC
) -> set[int]:
    """Settles contacts whose address has a verdict that is still fresh, on whichever contact it is.

    Args:
        connection: In a transaction that writes.
        contacts: Columns ``queue_id``, ``global_id``, ``key``, and ``verdict_after``: the moment that a verdict must
            be later than, or NULL.
        fresh_for: How long verdicts stay good.
        layer: The basic pass takes the verdict that counts, of whichever pass; the deep one takes only deep ones.

    Returns:
        The ``queue_id`` of the contacts that were settled.
    """
    if contacts.empty or fresh_for.days <= 0:
        return set()
    claimed = _stage(connection, "reuse_claimed", contacts)
    known = _that_counts if layer is Layer.BASIC else _of_deep_pass
    found = frame_of(
        connection.execute(known(claimed, fresh_for, database_now(connection))),
        ["queue_id", "global_id", "source_id", "verified", "batch_id"],
    )
    if contacts["verdict_after"].notna().any():
        after = found["queue_id"].map(contacts.set_index("queue_id")["verdict_after"])
        found = found[after.isna() | (found["verified"] > after)]
    if found.empty:
        return set()
    latest = found.sort_values(["verified", "source_id"]).drop_duplicates("queue_id", keep="last")
    columns = dict.fromkeys(["queue_id", "global_id", "source_id", "batch_id"], BigInteger())
    _settle(connection, stage(connection, "reuse_found", columns, latest))
    return set(latest["queue_id"])


def _that_counts(claimed: Table, fresh_for: FreshFor, now: datetime) -> Select[Any]:
    its_result = (
        select(Result.batch_id)
        .where(Result.batch_id == Contact.bouncer_batch_id, Result.global_id == Contact.global_id)
        .correlate(Contact)
        .scalar_subquery()
    )
    return (
        select(claimed.c.queue_id, claimed.c.global_id, Contact.global_id, Contact.bouncer_verified_ts, its_result)
        .join(Contact, Contact.bouncer_address_key == claimed.c.address_key)
        .with_hint(Contact, BY_ADDRESS_KEY)
        .where(fresh_for.covers(Contact.bouncer_status, Contact.bouncer_verified_ts, now))
    )


def _of_deep_pass(claimed: Table, fresh_for: FreshFor, now: datetime) -> Select[Any]:
    return (
        select(claimed.c.queue_id, claimed.c.global_id, Result.global_id, Result.processed_ts, Result.batch_id)
        .join(Contact, Contact.bouncer_address_key == claimed.c.address_key)
        .with_hint(Contact, BY_ADDRESS_KEY)
        .join(Result, Result.global_id == Contact.global_id)
        .join(Batch, Batch.id == Result.batch_id)
        .where(Batch.layer == Layer.DEEP, fresh_for.covers(Result.bouncer_status, Result.processed_ts, now))
    )


def join_batches_in_flight(
    connection: Connection, contacts: pd.DataFrame, layer: Layer = Layer.BASIC
) -> tuple[set[int], set[int]]:
    """Lets contacts whose address is in a batch under way wait for that batch's verdict.

    The batches are locked, so that none is loaded between the look and the joining. One whose verdicts are downloaded
    already can still be joined: ``load`` looks again who waits, once it has that lock.

    Args:
        connection: In a transaction that writes.
        contacts: Columns ``queue_id``, ``global_id``, ``key``.
        layer: Only batches of this pass.

    Returns:
        The ``queue_id`` of contacts that joined a batch; and of those that stay in the queue, since their twin's batch
        is locked. Most likely it is being loaded, and the next claim finds the verdict: to wait for that here would
        hold all other claims up.
    """
    if contacts.empty:
        return set(), set()
    claimed = _stage(connection, "join_claimed", contacts)
    # The status in no condition and the queue in no join: each leads one of the databases to compare every assigned
    # contact with every claimed one.
    is_in_flight = and_(QueuedContact.status == QueueStatus.ASSIGNED, QueuedContact.layer == layer)
    in_flight = (
        select(func.max(case((is_in_flight, QueuedContact.batch_id))))
        .prefix_with(_BY_INDEX)
        .where(QueuedContact.global_id == Contact.global_id)
        .correlate(Contact)
        .scalar_subquery()
    )
    twins = frame_of(
        connection.execute(
            select(claimed.c.queue_id, in_flight)
            .join(Contact, Contact.bouncer_address_key == claimed.c.address_key)
            .with_hint(Contact, BY_ADDRESS_KEY)
            .where(in_flight.is_not(None))
        ),
        ["queue_id", "batch_id"],
    )
    twins = twins.drop_duplicates("queue_id")
    if twins.empty:
        return set(), set()
    waiting = connection.scalars(
        select(Batch.id)
        .where(
            Batch.id.in_([int(id_) for id_ in twins["batch_id"].unique()]),
            is_in(*UNSETTLED),
        )
        .with_for_update(skip_locked=True)
    ).all()
    joining = twins[twins["batch_id"].isin(waiting)]
    if not joining.empty:
        staged = stage(connection, "join_joining", {"queue_id": Integer(), "batch_id": Integer()}, joining)
        connection.execute(
            update(QueuedContact)
            .where(QueuedContact.queue_id == staged.c.queue_id)
            .values(status=QueueStatus.ASSIGNED, batch_id=staged.c.batch_id, assigned_ts=func.current_timestamp())
        )
    joined = set(joining["queue_id"])
    return joined, set(twins["queue_id"]) - joined


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
        .values({name: source.c[name] for name in VERDICT_OF_CONTACT}),
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
