"""Matching: which contact each verdict is for, by the address and never by position."""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from itertools import compress
from typing import Any, get_args

import orjson
import pandas as pd
from sqlalchemy import JSON, BigInteger, Connection, DateTime, Integer, Select, String, bindparam, case, func, select
from sqlalchemy.orm import aliased
from sqlalchemy.types import TypeEngine

from bouncer.addresses.address_keys import BY_ADDRESS_KEY
from bouncer.addresses.normalisation import InvalidAddress, address_key, normalise
from bouncer.api.answers import Verdict
from bouncer.safe_text import clean_message, visible
from bouncer.storage.bulk import frame_of
from bouncer.storage.tables import Contact, QueuedContact, QueueStatus
from bouncer.storage.transactions import reading
from bouncer.verdicts.statuses import Status

__all__ = ["RESULT_COLUMNS", "Awaited", "Prepared", "await_verdicts", "count_own", "expected_credits", "prepare"]

RESULT_COLUMNS: dict[str, TypeEngine[Any]] = {
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


_FREE_DOMAIN = "@sandbox.usebouncer.com"


_CONTACT_COLUMNS = ["queue_id", "global_id", "email", "stored_key", "was_unknown"]


# MariaDB takes no JSON of more than 32 levels, and a server no statement longer than its max_allowed_packet. Details
# beyond these are nobody's verdict; refused by the database, they would keep the whole batch out.
_DEEPEST_JSON = 16


_LONGEST_JSON = 200_000


_BEYOND_BMP = re.compile(r"[^\x01-\uffff]")


# They stand in artifacts, where no address may be.
_SHOWN = frozenset({"bouncer_status", "bouncer_reason"})
_STATUSES = frozenset(get_args(Status))


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
        unmatched_credits: What these should have cost.
    """

    verdicts: Sequence[Verdict] = field(repr=False)
    awaited: Awaited | None
    matched: pd.DataFrame = field(repr=False)
    unmatched: int
    unmatched_credits: int = 0


def prepare(verdicts: Sequence[Verdict], awaited: Awaited | None = None) -> Prepared:
    """Does what can be done without the database, so that the transaction is short.

    Args:
        verdicts: What Bouncer answered, in any order.
        awaited: The contacts of the batch; None leaves all to the transaction.
    """
    if awaited is None:
        return Prepared(verdicts, None, pd.DataFrame(), 0)
    contacts = awaited.contacts
    whole = [verdict for verdict in verdicts if verdict.is_whole]
    answers = _frame(whole, known=set(contacts["address_key"]))
    strangers = ~answers["address_key"].isin(contacts["address_key"])
    unmatched = int(strangers.sum()) + len(verdicts) - len(whole)
    # Of two verdicts on one address, in whatever letter case, the one that tells something.
    clearest = answers.sort_values("bouncer_status", key=lambda status: status != "unknown", kind="stable")
    matched = contacts.merge(clearest.drop_duplicates("address_key", keep="last"), on="address_key", how="inner")
    its = answers[strangers].assign(email=[verdict.email for verdict in compress(whole, strangers)])
    return Prepared(verdicts, awaited, matched, unmatched, expected_credits(its))


@reading
def await_verdicts(connection: Connection, batch_id: int) -> Awaited:
    """Reads the contacts of a batch, as can be done while its verdicts are still being downloaded."""
    return Awaited(_contacts(connection, batch_id))


def count_own(verdicts: Sequence[Verdict], awaited: Awaited) -> tuple[int, int]:
    """Counts the verdicts, whole or not, on addresses that are waited for, and those on others."""
    known = set(awaited.contacts["address_key"])
    own = sum(_key(verdict.email, known) in known for verdict in verdicts)
    return own, len(verdicts) - own


def expected_credits(verdicts: pd.DataFrame) -> int:
    """Returns the cost that verdicts should have: one credit an address, none for unknown ones or in Bouncer's sandbox.

    Args:
        verdicts: Columns ``address_key``, ``email`` and ``bouncer_status``; equal addresses count once.
    """
    if verdicts.empty:
        return 0
    addresses = verdicts.drop_duplicates("address_key")
    free = (addresses["bouncer_status"] == "unknown") | addresses["email"].str.lower().str.endswith(_FREE_DOMAIN)
    return int((~free).sum())


def _contacts(connection: Connection, id: int) -> pd.DataFrame:  # noqa: A002  # the column's name
    rows = connection.execute(_waiting(), {"batch": id}).all()
    contacts = frame_of(rows, _CONTACT_COLUMNS)
    # Stored keys hold for unchanged addresses only: an application may have changed one meanwhile, whose verdict this
    # would not be, and the contacts of batches from the plan's own tables have none.
    keys = [_key(row.email, {row.bouncer_address_key}) for row in rows]
    return contacts.assign(address_key=pd.Series(keys, dtype=object))


@cache
def _waiting() -> Select[int, int, str, bytes | None, int | None]:
    twin = aliased(Contact)
    # In this form both databases go from contact to contact: bouncer/queue/known_verdicts.py.
    was_unknown = (
        select(func.max(case((twin.bouncer_status == "unknown", 1), else_=0)))
        .where(twin.bouncer_address_key == Contact.bouncer_address_key)
        .with_hint(twin, BY_ADDRESS_KEY)
        .correlate(Contact)
        .scalar_subquery()
    )
    return (
        select(
            QueuedContact.queue_id,
            QueuedContact.global_id,
            Contact.email,
            Contact.bouncer_address_key,
            was_unknown,
        )
        .join(Contact, Contact.global_id == QueuedContact.global_id)
        .where(QueuedContact.batch_id == bindparam("batch"), QueuedContact.status == QueueStatus.ASSIGNED)
        # Leads SQLite to the index on batches; by that on statuses it would read every batch's contacts.
        .order_by(QueuedContact.queue_id)
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
    kind = RESULT_COLUMNS[column]
    length = kind.length if isinstance(kind, String) else None
    stored = {text: text and _fit(column, text)[:length] for text in set(texts)}
    return [stored[text] for text in texts]


def _fit(column: str, text: str) -> str:
    if column == "bouncer_status" and (known := text.strip().lower()) in _STATUSES:
        return known
    if column in _SHOWN and "@" in text:
        text = clean_message(text)
    return visible(_BEYOND_BMP.sub("\N{REPLACEMENT CHARACTER}", text))


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
