"""Loading: the verdicts of a batch go into results, contacts, queue and batch, in bulk and in one transaction.

Verdicts are joined on the address, never on position. Loading the same batch again changes nothing.
"""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
import pandas as pd
from sqlalchemy import (
    JSON,
    BigInteger,
    Connection,
    DateTime,
    Integer,
    LargeBinary,
    String,
    case,
    func,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.orm import aliased
from sqlalchemy.types import TypeEngine

from bouncer.addresses import InvalidAddress, address_key, normalise
from bouncer.batches import BatchWork
from bouncer.cancelling import is_cancelled
from bouncer.dialects import database_now
from bouncer.errors import OwnershipLost
from bouncer.frames import frame_of
from bouncer.models import Verdict
from bouncer.reusing import BY_ADDRESS_KEY, FreshFor
from bouncer.second_chances import Chances, give_second_chances, keep_verdicts
from bouncer.settling import requeue_freely, requeue_or_fail
from bouncer.staging import insert_all, stage
from bouncer.tables import Batch, BatchStatus, Contact, Layer, QueuedContact, QueueStatus, Result

__all__ = [
    "Awaited",
    "LoadReport",
    "Prepared",
    "await_verdicts",
    "expected_credits",
    "load",
    "prepare",
    "write_verdicts",
]

_COLUMNS: dict[str, TypeEngine[Any]] = {
    "global_id": BigInteger(),
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
_KEY_COLUMNS: dict[str, TypeEngine[Any]] = {"global_id": BigInteger(), "address_key": LargeBinary(16)}
_FREE_DOMAIN = "@sandbox.usebouncer.com"
_CERTAIN = ("deliverable", "undeliverable")
_CONTACT_COLUMNS = ["queue_id", "global_id", "email", "stored_key", "was_unknown"]
_CHANCES = Chances()
_FRESH_FOR = FreshFor()
# MariaDB takes no JSON of more than 32 levels, and a server no statement longer than its max_allowed_packet. Details
# beyond these are nobody's verdict; refused by the database, they would keep the whole batch out.
_DEEPEST_JSON = 16
_LONGEST_JSON = 200_000
_BEYOND_BMP = re.compile(r"[^\x01-\uffff]")


@dataclass(frozen=True)
class LoadReport:
    """What a load did.

    Attributes:
        settled: Contacts with a verdict.
        missing: Contacts whose address came back without one; queued again, or failed after several tries.
        maybe_paid: Addresses of these that Bouncer may have charged all the same.
        unmatched: Verdicts for addresses that are not in the batch.
        by_status: Contacts by verdict.
    """

    settled: int
    missing: int
    unmatched: int
    by_status: dict[str, int]
    maybe_paid: int = 0


@dataclass(frozen=True)
class Awaited:
    """The contacts that wait for the verdicts of a batch.

    Attributes:
        contacts: Columns ``queue_id``, ``global_id``, ``email``, ``stored_key``, ``was_unknown`` (whether the verdict
            of a contact with that address is unknown so far, as forecasts count it) and ``address_key``.
    """

    contacts: pd.DataFrame = field(repr=False)

    @property
    def fingerprint(self) -> tuple[int, int]:
        """By which it is seen that a contact has come or gone."""
        return len(self.contacts), int(self.contacts["queue_id"].sum())


@dataclass(frozen=True)
class Prepared:
    """The verdicts of a batch, ready to be stored: joined, on the address, to the contacts that wait for them.

    Attributes:
        verdicts: As Bouncer gave them.
        awaited: The contacts as they were read; None where that is still to be done.
        matched: A row for each contact with a verdict: the columns of ``Awaited.contacts``, and those of its result.
        unmatched: Verdicts for addresses for which no contact waits.
    """

    verdicts: Sequence[Verdict] = field(repr=False)
    awaited: Awaited | None
    matched: pd.DataFrame = field(repr=False)
    unmatched: int


def prepare(verdicts: Sequence[Verdict], awaited: Awaited | None = None) -> Prepared:
    """Does what can be done without the database, so that the transaction is short.

    Args:
        verdicts: What Bouncer answered, in any order.
        awaited: The contacts of the batch; None leaves all to the transaction.
    """
    if awaited is None:
        return Prepared(verdicts, None, pd.DataFrame(), 0)
    contacts = awaited.contacts
    answers = _frame(verdicts, known=set(contacts["address_key"]))
    unmatched = int((~answers["address_key"].isin(contacts["address_key"])).sum())
    matched = contacts.merge(answers.drop_duplicates("address_key", keep="last"), on="address_key", how="inner")
    return Prepared(verdicts, awaited, matched, unmatched)


def await_verdicts(connection: Connection, batch: BatchWork) -> Awaited:
    """Reads the contacts of a batch, as can be done while its verdicts are still being downloaded."""
    return Awaited(_contacts(connection, batch.id))


def load(
    connection: Connection,
    batch: BatchWork,
    prepared: Prepared,
    chances: Chances = _CHANCES,
    fresh_for: FreshFor = _FRESH_FOR,
) -> LoadReport:
    """Writes the verdicts of a batch.

    Args:
        connection: In a transaction that writes; all or nothing.
        batch: The batch, owned by the caller.
        prepared: Its verdicts, as of ``prepare``; joined anew here where other contacts have come to wait since.
        chances: How often and when contacts without a clear verdict are tried again.
        fresh_for: How long a deep verdict stays good, which a basic one that tells less does not replace.

    Returns:
        What was settled and what was not.

    Raises:
        OwnershipLost: Another run has the batch now, or has loaded it already.
    """
    row = connection.execute(
        select(Batch.owner, Batch.status, Batch.credits, Batch.processed).where(Batch.id == batch.id).with_for_update()
    ).one_or_none()
    if row is None or row.owner != batch.owner or row.status != BatchStatus.DOWNLOADING:
        raise OwnershipLost(f"batch {batch.id} was taken over by another run; nothing is lost")
    awaited, prepared = _present(connection, batch.id, prepared)
    contacts, matched = awaited.contacts, prepared.matched
    without = contacts[~contacts["queue_id"].isin(matched["queue_id"])]
    missing = _requeue_missing(connection, without, was_cut_short=is_cancelled(connection, batch.request_id))
    if missing:
        keep_verdicts(connection, QueuedContact.batch_id == batch.id)
    if not matched.empty:
        write_verdicts(connection, batch, matched, fresh_for)
        connection.execute(
            update(QueuedContact)
            .where(QueuedContact.batch_id == batch.id, QueuedContact.status == QueueStatus.ASSIGNED)
            .values(status=QueueStatus.COMPLETED, completed_ts=func.current_timestamp(), error_message=None)
        )
        give_second_chances(connection, batch, matched, chances)
    expected = expected_credits(matched)
    answered = int(matched["address_key"].nunique())
    paid_for_nothing = row.processed - answered if row.credits is None else row.credits - expected
    maybe_paid = max(0, min(int(without["address_key"].nunique()), paid_for_nothing))
    were_unknown = matched[matched["was_unknown"] == 1]
    connection.execute(
        update(Batch)
        .where(Batch.id == batch.id)
        .values(
            status=BatchStatus.COMPLETED,
            completed_ts=func.current_timestamp(),
            processed=Batch.quantity,
            expected_credits=expected,
            unknown_before=were_unknown["address_key"].nunique(),
            unknown_resolved=expected_credits(were_unknown),
            missing=missing,
            lost_addresses=maybe_paid,
            unmatched=prepared.unmatched,
            error_message=None,
            owner=None,
            heartbeat_ts=None,
            slot_lease=None,
        )
    )
    return LoadReport(
        settled=len(matched),
        missing=missing,
        unmatched=prepared.unmatched,
        by_status={str(status): int(count) for status, count in matched["bouncer_status"].value_counts().items()},
        maybe_paid=maybe_paid,
    )


def expected_credits(verdicts: pd.DataFrame) -> int:
    """What verdicts should have cost: one credit an address, but none for unknown ones and for Bouncer's own sandbox.

    Args:
        verdicts: Columns ``address_key``, ``email`` and ``bouncer_status``; equal addresses count once.
    """
    if verdicts.empty:
        return 0
    addresses = verdicts.drop_duplicates("address_key")
    free = (addresses["bouncer_status"] == "unknown") | addresses["email"].str.lower().str.endswith(_FREE_DOMAIN)
    return int((~free).sum())


def _present(connection: Connection, id: int, prepared: Prepared) -> tuple[Awaited, Prepared]:  # noqa: A002  # the column's name
    if prepared.awaited is not None:
        count, total = connection.execute(
            select(func.count(), func.coalesce(func.sum(QueuedContact.queue_id), 0)).where(
                QueuedContact.batch_id == id, QueuedContact.status == QueueStatus.ASSIGNED
            )
        ).one()
        # The batch is locked by now, so nobody joins it any more.
        if (count, int(total)) == prepared.awaited.fingerprint:
            return prepared.awaited, prepared
    awaited = Awaited(_contacts(connection, id))
    return awaited, prepare(prepared.verdicts, awaited)


def _contacts(connection: Connection, id: int) -> pd.DataFrame:  # noqa: A002  # the column's name
    twin = aliased(Contact)
    # In this form both databases go from contact to contact: bouncer/reusing.py.
    was_unknown = (
        select(func.max(case((twin.bouncer_status == "unknown", 1), else_=0)))
        .where(twin.bouncer_address_key == Contact.bouncer_address_key)
        .with_hint(twin, BY_ADDRESS_KEY)
        .correlate(Contact)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(
            QueuedContact.queue_id,
            QueuedContact.global_id,
            Contact.email,
            Contact.bouncer_address_key,
            was_unknown,
        )
        .join(Contact, Contact.global_id == QueuedContact.global_id)
        .where(QueuedContact.batch_id == id, QueuedContact.status == QueueStatus.ASSIGNED)
        # Leads SQLite to the index on batches; by that on statuses it would read every batch's contacts.
        .order_by(QueuedContact.queue_id)
    ).all()
    contacts = frame_of(rows, _CONTACT_COLUMNS)
    # Stored keys hold for unchanged addresses only: an application may have changed one meanwhile, whose verdict this
    # would not be, and the contacts of batches from the plan's own tables have none.
    keys = [_key(row.email, {row.bouncer_address_key}) for row in rows]
    return contacts.assign(address_key=pd.Series(keys, dtype=object))


def _requeue_missing(connection: Connection, contacts: pd.DataFrame, *, was_cut_short: bool) -> int:
    if contacts.empty:
        return 0
    staged = stage(connection, "load_missing", {"queue_id": Integer()}, contacts)
    missing = update(QueuedContact).where(
        QueuedContact.queue_id == staged.c.queue_id, QueuedContact.status == QueueStatus.ASSIGNED
    )
    if was_cut_short:
        # Its request was cancelled: that is no failure of the contacts that other requests have in it.
        return requeue_freely(connection, missing)
    return requeue_or_fail(
        connection, missing, "Bouncer gave no verdict on this address, although it was sent several times"
    )


def write_verdicts(connection: Connection, batch: BatchWork, matched: pd.DataFrame, fresh_for: FreshFor) -> None:
    """Writes results and contacts; the queue is the caller's.

    Args:
        connection: In a transaction that writes.
        batch: The batch that paid.
        matched: As of ``prepare``; not empty.
        fresh_for: How long a deep verdict stays good.
    """
    # An application may have queued a contact twice in one request.
    results = matched.drop_duplicates("global_id").assign(batch_id=batch.id)
    insert_all(connection, "REPLACE", Result.__tablename__, {"batch_id": Integer(), **_COLUMNS}, results)
    its_contacts = update(Contact).where(Result.batch_id == batch.id, Contact.global_id == Result.global_id)
    if batch.layer is Layer.DEEP:
        connection.execute(its_contacts.values(bouncer_deep_ts=func.current_timestamp()))
        # The better verdict is the one that tells more: where the deep pass found nothing out, the basic one stays.
        its_contacts = its_contacts.where(Result.bouncer_status != "unknown")
    else:
        # Likewise: where a basic look leaves doubt, a deep verdict that is still good tells more.
        keeps = fresh_for.keeps_deep_verdict(database_now(connection))
        its_contacts = its_contacts.where(or_(Result.bouncer_status.in_(_CERTAIN), not_(keeps)))
    connection.execute(
        its_contacts.values(
            bouncer_status=Result.bouncer_status,
            bouncer_reason=Result.bouncer_reason,
            bouncer_score=Result.score,
            bouncer_verified_ts=func.current_timestamp(),
            bouncer_batch_id=batch.id,
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


def _frame(verdicts: Sequence[Verdict], known: set[bytes | None]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "address_key": pd.Series([_key(v.email, known) for v in verdicts], dtype=object),
            "bouncer_status": _texts("bouncer_status", [v.status for v in verdicts]),
            "bouncer_reason": _texts("bouncer_reason", [v.reason for v in verdicts]),
            "domain_info": [_json(v.domain) for v in verdicts],
            "account_info": [_json(v.account) for v in verdicts],
            "dns_info": [_json(v.dns) for v in verdicts],
            "provider": _texts("provider", [v.provider for v in verdicts]),
            "score": pd.array([v.score for v in verdicts], dtype="Int64"),
            "toxic": _texts("toxic", [v.toxic for v in verdicts]),
            "toxicity": pd.array([v.toxicity for v in verdicts], dtype="Int64"),
            "retry_after_ts": [_moment(v.retry_after) for v in verdicts],
            "did_you_mean": _texts("did_you_mean", [v.did_you_mean for v in verdicts]),
        }
    )


def _key(email: str, known: set[bytes | None]) -> bytes:
    key = address_key(email.strip())
    if key not in known:
        # Perhaps the same address in another dress, such as its domain in Unicode.
        with contextlib.suppress(InvalidAddress):
            return address_key(normalise(email))
    return key


def _texts(column: str, texts: list[str | None]) -> list[str | None]:
    # Cut to the column, and without characters that the plan's utf8mb3 cannot hold: one odd text must not keep the
    # verdicts of a whole batch out.
    kind = _COLUMNS[column]
    length = kind.length if isinstance(kind, String) else None
    stored = {text: text and _BEYOND_BMP.sub("\N{REPLACEMENT CHARACTER}", text[:length]) for text in set(texts)}
    return [stored[text] for text in texts]


def _moment(moment: datetime | None) -> datetime | None:
    # All that a TIMESTAMP can hold, and all that makes sense.
    return moment if moment is not None and 1970 < moment.year < 2038 else None


def _json(value: dict[str, object] | None) -> str | None:
    if value is None:
        return None
    try:
        text = orjson.dumps(value)
    except orjson.JSONEncodeError:
        # Such as a number of more than 64 bits, or levels without end.
        return None
    # Every level opens a bracket: most details have so few that they need no look.
    brackets = text.count(b"{") + text.count(b"[")
    if len(text) > _LONGEST_JSON or (brackets > _DEEPEST_JSON and not _is_shallow(value, _DEEPEST_JSON)):
        return None
    return text.decode()


def _is_shallow(value: object, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_is_shallow(each, depth - 1) for each in inner)
