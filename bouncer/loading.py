"""Loading: the verdicts of a batch go into results, contacts, queue and batch, in bulk and in one transaction.

Verdicts are joined on the address, never on position. Loading the same batch again changes nothing.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pandas as pd
from sqlalchemy import JSON, Connection, DateTime, Integer, String, func, literal, select, true, update
from sqlalchemy.types import TypeEngine

from bouncer.addresses import InvalidAddress, address_key, normalise
from bouncer.batches import BatchWork
from bouncer.dialects import insert_or_update
from bouncer.errors import OwnershipLost
from bouncer.models import Verdict
from bouncer.settling import requeue_or_fail
from bouncer.staging import stage
from bouncer.tables import Batch, BatchStatus, Contact, QueuedContact, QueueStatus, Result

__all__ = ["LoadReport", "load"]

_COLUMNS: dict[str, TypeEngine[Any]] = {
    "global_id": Integer(),
    "bouncer_status": String(50),
    "bouncer_reason": String(100),
    "domain_info": JSON(),
    "account_info": JSON(),
    "dns_info": JSON(),
    "provider": String(100),
    "score": Integer(),
    "toxic": String(20),
    "toxicity": Integer(),
    "retry_after_ts": DateTime(),
    "did_you_mean": String(320),
}


@dataclass(frozen=True)
class LoadReport:
    """What a load did.

    Attributes:
        settled: Contacts with a verdict.
        missing: Contacts whose address came back without one; queued again, or failed after several tries.
        unmatched: Verdicts for addresses that are not in the batch.
        by_status: Contacts by verdict.
    """

    settled: int
    missing: int
    unmatched: int
    by_status: dict[str, int]


def load(connection: Connection, batch: BatchWork, verdicts: Sequence[Verdict]) -> LoadReport:
    """Writes the verdicts of a batch.

    Args:
        connection: In a transaction that writes; all or nothing.
        batch: The batch, owned by the caller.
        verdicts: What Bouncer answered, in any order.

    Returns:
        What was settled and what was not.

    Raises:
        OwnershipLost: Another run has the batch now, or has loaded it already.
    """
    row = connection.execute(select(Batch.owner, Batch.status).where(Batch.id == batch.id).with_for_update()).one()
    if row.owner != batch.owner or row.status != BatchStatus.DOWNLOADING:
        raise OwnershipLost(f"batch {batch.id} was taken over by another run; nothing is lost")
    contacts = pd.DataFrame(
        connection.execute(
            select(QueuedContact.queue_id, QueuedContact.global_id, Contact.bouncer_address_key)
            .join(Contact, Contact.global_id == QueuedContact.global_id)
            .where(QueuedContact.batch_id == batch.id, QueuedContact.status == QueueStatus.ASSIGNED)
        ),
        columns=["queue_id", "global_id", "key"],
    )
    answers = _frame(verdicts, known=set(contacts["key"]))
    matched = contacts.merge(answers, on="key", how="inner")
    unmatched = int((~answers["key"].isin(contacts["key"])).sum())
    missing = 0
    if not matched.empty:
        _write(connection, batch.id, matched)
    if len(matched) < len(contacts):
        missing = requeue_or_fail(
            connection,
            update(QueuedContact).where(
                QueuedContact.batch_id == batch.id, QueuedContact.status == QueueStatus.ASSIGNED
            ),
            "Bouncer gave no verdict on this address, although it was sent several times",
        )
    connection.execute(
        update(Batch)
        .where(Batch.id == batch.id)
        .values(
            status=BatchStatus.COMPLETED,
            completed_ts=func.current_timestamp(),
            processed=Batch.quantity,
            missing=missing,
            unmatched=unmatched,
            error_message=None,
            owner=None,
            heartbeat_ts=None,
        )
    )
    return LoadReport(
        settled=len(matched),
        missing=missing,
        unmatched=unmatched,
        by_status={str(status): int(count) for status, count in matched["bouncer_status"].value_counts().items()},
    )


def _write(connection: Connection, id: int, matched: pd.DataFrame) -> None:  # noqa: A002  # the column's name
    staged = stage(connection, "load_verdicts", {"queue_id": Integer(), **_COLUMNS}, matched)
    into = insert_or_update(connection.dialect, Result, ["batch_id", *_COLUMNS], ["batch_id", "global_id"])
    # SQLite would read ON CONFLICT after a bare SELECT as a join condition: https://sqlite.org/lang_upsert.html
    verdicts = select(literal(id), *(staged.c[name] for name in _COLUMNS)).where(true())
    connection.execute(into.from_select(["batch_id", *_COLUMNS], verdicts))
    connection.execute(
        update(Contact)
        .where(Contact.global_id == staged.c.global_id)
        .values(
            bouncer_status=staged.c.bouncer_status,
            bouncer_reason=staged.c.bouncer_reason,
            bouncer_score=staged.c.score,
            bouncer_verified_ts=func.current_timestamp(),
        )
    )
    connection.execute(
        update(QueuedContact)
        .where(QueuedContact.queue_id == staged.c.queue_id)
        .values(status=QueueStatus.COMPLETED, completed_ts=func.current_timestamp(), error_message=None)
    )


def _frame(verdicts: Sequence[Verdict], known: set[bytes]) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "key": [_key(v.email, known) for v in verdicts],
            "bouncer_status": [v.status for v in verdicts],
            "bouncer_reason": [v.reason for v in verdicts],
            "domain_info": [_json(v.domain) for v in verdicts],
            "account_info": [_json(v.account) for v in verdicts],
            "dns_info": [_json(v.dns) for v in verdicts],
            "provider": [v.provider for v in verdicts],
            "score": pd.array([v.score for v in verdicts], dtype="Int64"),
            "toxic": [v.toxic for v in verdicts],
            "toxicity": pd.array([v.toxicity for v in verdicts], dtype="Int64"),
            "retry_after_ts": [v.retry_after for v in verdicts],
            "did_you_mean": [v.did_you_mean for v in verdicts],
        }
    )
    return frame.drop_duplicates("key", keep="last")


def _key(email: str, known: set[bytes]) -> bytes:
    key = address_key(email.strip())
    if key not in known:
        # Perhaps the same address in another dress, such as its domain in Unicode.
        with contextlib.suppress(InvalidAddress):
            return address_key(normalise(email))
    return key


def _json(value: dict[str, object] | None) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
