"""Counts addresses by what verifying them would cost: repeated, known, on their way, or to be paid for.

Memory is bounded: eight bytes an address, and a table of the most frequent domains.
"""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    String,
    and_,
    case,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.types import DateTime, TypeEngine

from bouncer.addresses.address_keys import BY_ADDRESS_KEY
from bouncer.addresses.normalisation import InvalidAddress, address_key, normalise
from bouncer.addresses.seen_keys import SeenKeys
from bouncer.storage.bulk import stage
from bouncer.storage.dialects import database_now
from bouncer.storage.engine import read
from bouncer.storage.tables import Batch, Contact, Layer, QueuedContact, QueueStatus, Result
from bouncer.verdicts.freshness import FreshFor

__all__ = ["Census", "DomainShare", "Due"]

_TOP_DOMAINS = 10
_DOMAINS_KEPT = 50_000

_STAGED: dict[str, TypeEngine[Any]] = {
    "number": Integer(),
    "address_key": LargeBinary(16),
    "address": String(320),
    "verdict_after": DateTime(),
}


@dataclass(frozen=True)
class DomainShare:
    """Number of contacts with an address at a domain."""

    domain: str
    contacts: int
    share: float


@dataclass(frozen=True)
class Due:
    """Addresses to pay for, and those of them whose last verdict was unknown."""

    to_pay: int = 0
    unknown_before: int = 0

    def __add__(self, other: "Due") -> "Due":
        """Both together."""
        return Due(self.to_pay + other.to_pay, self.unknown_before + other.unknown_before)


class Census:
    """Counts contacts by what they would cost, over chunks; each chunk is looked up in one statement.

    Args:
        engine: The contacts database, or None where nothing is known.
        fresh_for: How long verdicts stay good.
        is_import: Whether the addresses are to be imported: then one that waits in the queue already is shared with
            whoever waits there, and a contact whose address the application has changed is not taken for the old one.
        request_id: The request whose addresses count as repeated; None for none.

    Attributes:
        contacts: All contacts so far: those below together.
        invalid: Contacts without an address that can be mailed to.
        duplicates: Contacts whose address came before, in any case.
        fresh: Addresses whose verdict is still good.
        shared: Addresses that are on their way, or wait, for others.
        to_pay: All other addresses.
        unknown_before: Those of them whose last verdict was unknown.
    """

    def __init__(
        self,
        engine: Engine | None,
        fresh_for: FreshFor,
        *,
        is_import: bool = False,
        request_id: int | None = None,
    ) -> None:
        self._engine = engine
        self._fresh_for = fresh_for
        self._is_import = is_import
        self._request_id = request_id
        self._seen = {layer: SeenKeys() for layer in Layer}
        self._domains: Counter[str] = Counter()
        self.contacts = self.invalid = self.duplicates = self.fresh = self.shared = self.to_pay = 0
        self.unknown_before = 0

    def add(self, checked: pd.DataFrame, unreadable: int = 0, layer: Layer = Layer.BASIC) -> Due:
        """Counts a chunk.

        Args:
            checked: Columns ``address``, ``key``, ``domain`` and ``reason`` of ``normalise_all``, and
                ``verdict_after``: the moment that a verdict must be later than, or nothing.
            unreadable: Contacts without any text that could be an address.
            layer: The pass that they wait for; an address is paid for in each.

        Returns:
            What of it is to be paid for.
        """
        valid = checked[checked["reason"].isna()]
        self.contacts += len(checked) + unreadable
        self.invalid += len(checked) - len(valid) + unreadable
        self._domains.update(valid["domain"])
        if len(self._domains) > _DOMAINS_KEPT:
            # Whatever is frequent stays: a domain that goes here has a few contacts out of very many.
            self._domains = Counter(dict(self._domains.most_common(_DOMAINS_KEPT // 2)))
        new = valid[self._seen[layer].add(valid["key"])]
        known = pd.DataFrame(columns=["in_request", "shared", "fresh", "was_unknown"])
        if self._engine is not None and not new.empty:
            known = read(self._engine, self._look_up, new, layer)
        in_request = known["in_request"] > 0
        shared = ~in_request & (known["shared"] > 0)
        fresh = ~in_request & ~shared & (known["fresh"] > 0)
        self.duplicates += len(valid) - len(new) + int(in_request.sum())
        self.shared += int(shared.sum())
        self.fresh += int(fresh.sum())
        is_free = in_request | shared | fresh
        due = Due(len(new) - int(is_free.sum()), int((~is_free & (known["was_unknown"] > 0)).sum()))
        self.to_pay += due.to_pay
        self.unknown_before += due.unknown_before
        return due

    def domains(self) -> tuple[tuple[DomainShare, ...], int]:
        """The most frequent domains of valid contacts, and how many contacts are at others."""
        valid = self.contacts - self.invalid
        top = [DomainShare(name, count, count / valid) for name, count in self._domains.most_common(_TOP_DOMAINS)]
        return tuple(top), valid - sum(share.contacts for share in top)

    def _look_up(self, connection: Connection, contacts: pd.DataFrame, layer: Layer) -> pd.DataFrame:
        # A temporary table is this connection's alone, and nobody else's database is changed by it.
        rows = contacts.assign(number=range(len(contacts)), address_key=contacts["key"])
        asked = stage(connection, "forecast_asked", _STAGED, rows).c
        standing = [and_(QueuedContact.status == QueueStatus.ASSIGNED, QueuedContact.layer == layer)]
        if self._is_import:
            standing.append(and_(QueuedContact.status == QueueStatus.QUEUED, QueuedContact.layer == layer))
        # In this form, with the queue in no join, both databases go from contact to contact, as in
        # bouncer/queue/known_verdicts.py.
        shared, in_request = (
            select(func.coalesce(func.max(case((condition, 1), else_=0)), 0))
            .where(QueuedContact.global_id == Contact.global_id)
            .correlate(Contact)
            .scalar_subquery()
            for condition in (or_(*standing), QueuedContact.request_id == (self._request_id or -1))
        )
        now = database_now(connection)
        is_fresh: ColumnElement[bool] = and_(
            self._fresh_for.covers(Contact.bouncer_status, Contact.bouncer_verified_ts, now),
            or_(asked.verdict_after.is_(None), Contact.bouncer_verified_ts > asked.verdict_after),
        )
        if layer is Layer.DEEP:
            # Only a verdict of the deep pass does, whichever counts.
            is_fresh = (
                exists()
                .where(
                    Result.global_id == Contact.global_id,
                    Batch.id == Result.batch_id,
                    Batch.layer == Layer.DEEP,
                    self._fresh_for.covers(Result.bouncer_status, Result.processed_ts, now),
                    or_(asked.verdict_after.is_(None), Result.processed_ts > asked.verdict_after),
                )
                .correlate(Contact, asked.number.table)
            )
        fresh = (
            case((is_fresh, 1), else_=0)
            if self._fresh_for.days > 0
            else case((Contact.global_id.is_(None), 1), else_=0)
        )
        was_unknown = case((Contact.bouncer_status == "unknown", 1), else_=0)
        written_otherwise = case((func.lower(Contact.email) != func.lower(asked.address), Contact.email))
        found = connection.execute(
            select(asked.number, in_request, shared, fresh, was_unknown, asked.address_key, written_otherwise)
            .join(Contact, Contact.bouncer_address_key == asked.address_key)
            .with_hint(Contact, BY_ADDRESS_KEY)
        ).all()
        kept = [row[:5] for row in found if row[6] is None or not self._is_import or _key_of(row[6]) == row[5]]
        frame = pd.DataFrame(kept, columns=["number", "in_request", "shared", "fresh", "was_unknown"], dtype="int64")
        return frame.groupby("number").max()


def _key_of(email: str) -> bytes | None:
    # An import too finds out whether the application has changed the address of a contact since its key was
    # stored, and then makes the file's address a contact of its own: bouncer.importing.
    with suppress(InvalidAddress):
        return address_key(normalise(email))
    return None
