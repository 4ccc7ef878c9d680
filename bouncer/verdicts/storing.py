"""Storing verdicts: the detailed ones in bulk, and on each contact the one that counts."""

from typing import Any

import pandas as pd
from sqlalchemy import BigInteger, Connection, Integer, LargeBinary, func, not_, or_, update
from sqlalchemy.types import TypeEngine

from bouncer.storage.bulk import insert_all, stage
from bouncer.storage.dialects import database_now
from bouncer.storage.tables import Contact, Layer, Result
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.matching import RESULT_COLUMNS
from bouncer.verdicts.statuses import CLEAR_STATUSES

__all__ = ["write_verdicts"]

_KEY_COLUMNS: dict[str, TypeEngine[Any]] = {"global_id": BigInteger(), "address_key": LargeBinary(16)}


def write_verdicts(
    connection: Connection, batch_id: int, layer: Layer, matched: pd.DataFrame, fresh_for: FreshFor
) -> None:
    """Writes results and contacts; the queue is the caller's.

    Args:
        connection: In a transaction that writes.
        batch_id: The batch that paid.
        layer: Which pass it is of.
        matched: Verdicts matched to contacts by ``prepare``; not empty.
        fresh_for: How long a deep verdict stays good.
    """
    # An application may have queued a contact twice in one request.
    results = matched.drop_duplicates("global_id").assign(batch_id=batch_id)
    insert_all(connection, "REPLACE", Result.__tablename__, {"batch_id": Integer(), **RESULT_COLUMNS}, results)
    its_contacts = update(Contact).where(Result.batch_id == batch_id, Contact.global_id == Result.global_id)
    if layer is Layer.DEEP:
        connection.execute(its_contacts.values(bouncer_deep_ts=func.current_timestamp()))
        # The better verdict is the one that tells more: where the deep pass found nothing out, the basic one stays.
        its_contacts = its_contacts.where(Result.bouncer_status != "unknown")
    else:
        # The better verdict stays here too: where a basic look leaves doubt, a deep verdict that is still good wins.
        keeps = fresh_for.keeps_deep_verdict(database_now(connection))
        its_contacts = its_contacts.where(or_(Result.bouncer_status.in_(CLEAR_STATUSES), not_(keeps)))
        # Nor does a look that found nothing out take away what an earlier one did; that keeps its own moment, and ages.
        nothing_known = or_(Contact.bouncer_status.is_(None), Contact.bouncer_status == "unknown")
        its_contacts = its_contacts.where(or_(Result.bouncer_status != "unknown", nothing_known))
    connection.execute(
        its_contacts.values(
            bouncer_status=Result.bouncer_status,
            bouncer_reason=Result.bouncer_reason,
            bouncer_score=Result.score,
            bouncer_verified_ts=func.current_timestamp(),
            bouncer_batch_id=batch_id,
        )
    )
    keyless = results[results["stored_key"] != results["address_key"]]
    if not keyless.empty:
        staged = stage(connection, "load_keys", _KEY_COLUMNS, keyless)
        connection.execute(
            update(Contact)
            .where(Contact.global_id == staged.c.global_id)
            .values(bouncer_address_key=staged.c.address_key)
        )
