"""Claiming: the next contacts leave the queue, settled at no cost where possible, else laid out into batches.

One transaction that no other claim can interleave with: on MariaDB and MySQL a row is locked for it, and
queue rows that an application holds are skipped (SKIP LOCKED); SQLite has one writer.
"""

import itertools
import math
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Integer, Select, String, bindparam, func, select, update
from sqlalchemy.types import TypeEngine

from bouncer.accounts.state import ensure_row
from bouncer.addresses.address_keys import renew_keys
from bouncer.addresses.interleaving import lay_out
from bouncer.addresses.normalisation import domain_hash, normalise_all
from bouncer.batches import transitions
from bouncer.batches.admission import is_cancelled
from bouncer.batches.batches_in_flight import Places, room_for
from bouncer.batches.state import BatchTitle
from bouncer.credits.caps import Spending, caps_reached, room_of_run
from bouncer.queue.fair_order import Source, sources_in_turn
from bouncer.queue.known_verdicts import join_batches_in_flight, reuse_verdicts
from bouncer.requests.cancelling import withdraw_waiting
from bouncer.requests.progress import note_open
from bouncer.storage.bulk import frame_of, stage
from bouncer.storage.locks import Only, alone
from bouncer.storage.tables import Contact, Layer, QueuedContact, QueueStatus
from bouncer.storage.transactions import writing
from bouncer.verdicts.freshness import FreshFor

__all__ = ["Claimed", "claim"]

_STRETCHES = 40
"""Into how many stretches of a request's waiting contacts a claim reaches, so that a file sorted by domain still
gives batches with the domain mix of the whole."""

_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2

_CONTACT_COLUMNS = ["queue_id", "global_id", "email", "stored_key", "verdict_after"]

_MOST_CONTACTS = 40_000
"""Contacts that one claim takes at most, unless a single batch has more: the first batches leave sooner, the accounts
are locked for less long, and a contact takes a kilobyte of memory meanwhile."""

_ANY_NUMBER = Spending()

_OF_SOURCE = (
    QueuedContact.status == QueueStatus.QUEUED,
    QueuedContact.layer == bindparam("layer"),
    QueuedContact.priority == bindparam("priority"),
    QueuedContact.request_id == bindparam("request"),
)


@dataclass(frozen=True)
class Claimed:
    """Result of a claim.

    Attributes:
        batches: The new batches.
        contacts: Contacts taken from the queue.
        reused: Contacts settled from an earlier verdict, at no cost.
        joined: Contacts whose address is in another batch in flight; they wait for its verdict.
        invalid: Contacts failed because their address cannot be mailed to at all.
        capped: The caps on credits that keep contacts in the queue, in words.
        cancelled: Contacts that left the queue because their request is cancelled.
    """

    batches: tuple[BatchTitle, ...] = ()
    contacts: int = 0
    reused: int = 0
    joined: int = 0
    invalid: int = 0
    capped: tuple[str, ...] = ()
    cancelled: int = 0

    def __add__(self, other: "Claimed") -> "Claimed":
        """Both claims together."""
        return Claimed(
            batches=self.batches + other.batches,
            contacts=self.contacts + other.contacts,
            reused=self.reused + other.reused,
            joined=self.joined + other.joined,
            invalid=self.invalid + other.invalid,
            capped=tuple(dict.fromkeys(self.capped + other.capped)),
            cancelled=self.cancelled + other.cancelled,
        )

    @property
    def took_any(self) -> bool:
        """True if contacts left the queue."""
        return bool(self.batches or self.reused or self.joined or self.invalid or self.cancelled)


@writing
def claim(  # noqa: PLR0913  # each is a condition of the one question, which contacts go now
    connection: Connection,
    account: str,
    *,
    batches: int,
    batch_size: int,
    fresh_for: FreshFor,
    request_id: int | None = None,
    layer: Layer = Layer.BASIC,
    spending: Spending = _ANY_NUMBER,
    at_once: int | None = None,
    places: Places | None = None,
) -> Claimed:
    """Takes the next contacts of one request out of the queue, some 40,000 at most; whoever has more room claims again.

    The most urgent priority goes first; within it, the user, then the request, with the fewest batches under way.
    Where several requests wait, each gets its share of the free places.

    Args:
        connection: In a transaction that writes.
        account: The account that will pay.
        batches: The most batches to make.
        batch_size: The most addresses in one.
        fresh_for: How long earlier verdicts stay good.
        request_id: Only this request, or None for all.
        layer: The layer that the account serves; contacts of the other are left alone.
        spending: What the run may commit. No more addresses are made into batches than it, and the cap of the request,
            leave room for; the contacts of the others stay where they are.
        at_once: Only requests with at most so many waiting contacts, for a batch in real time; None for any request,
            in batches that are uploaded.
        places: Where workers take the batches, what the account may have at Bouncer: no more batches are made than
            there is room for (``batches_in_flight``), since others may have claimed since the caller looked.

    Returns:
        What was claimed; all zeros where nothing waits.
    """
    # One claim at a time: two at once could each take a contact with the same address, and pay for it twice.
    alone(connection, Only.CLAIM)
    ensure_row(connection, account)
    room = room_of_run(connection, spending)
    if batches < 1:
        return Claimed()
    if room is not None and room < 1:
        return Claimed(capped=caps_reached((), run=spending.most))
    capped: list[int] = []
    for source in sources_in_turn(connection, layer, request_id, at_once, capped):
        most = batches if places is None else min(batches, room_for(connection, account, places, source.priority))
        if most < 1:
            continue
        claimed = _claim_from(
            connection, account, source, most, batch_size, fresh_for, room, realtime=at_once is not None
        )
        # Its contacts may all be held by an application, or by a load of their twins: the others go meanwhile.
        if claimed.took_any:
            return claimed
    return Claimed(capped=caps_reached(capped))


def _claim_from(  # noqa: PLR0913  # those of claim
    connection: Connection,
    account: str,
    source: Source,
    batches: int,
    batch_size: int,
    fresh_for: FreshFor,
    room: int | None,
    *,
    realtime: bool,
) -> Claimed:
    if is_cancelled(connection, source.request_id):
        # An application has queued more, or a batch gave contacts back, or whoever cancelled it was killed.
        return Claimed(cancelled=withdraw_waiting(connection, source.request_id))
    share = max(1, min(math.ceil(batches / source.waiting_requests), _MOST_CONTACTS // batch_size))
    contacts = _lock_contacts(connection, source, share * batch_size)
    if contacts.empty:
        return Claimed()
    if contacts["verdict_after"].isna().any():
        # A request stays complete while contacts of it have a second chance.
        note_open(connection, source.request_id)
    checked = contacts.join(normalise_all(contacts["email"]))
    invalid = _fail_invalid(connection, checked[checked["reason"].notna()])
    valid = checked[checked["reason"].isna()]
    renew_keys(connection, valid)
    # In this order: a batch that is loaded between the two looks is not in flight any more, but its verdicts are there.
    joined, held_back = join_batches_in_flight(connection, valid, source.layer)
    valid = valid[~valid["queue_id"].isin(joined | held_back)]
    reused = reuse_verdicts(connection, valid, fresh_for, source.layer)
    valid = valid[~valid["queue_id"].isin(reused)]
    affordable = _within(valid, [cap for cap in (room, source.room) if cap is not None])
    made = _make_batches(connection, account, source, affordable, batch_size, realtime=realtime)
    taken = len(contacts) - len(held_back) - (len(valid) - len(affordable))
    return Claimed(batches=made, contacts=taken, reused=len(reused), joined=len(joined), invalid=invalid)


def _within(contacts: pd.DataFrame, caps: list[int]) -> pd.DataFrame:
    if not caps:
        return contacts
    return contacts[contacts["key"].isin(contacts["key"].drop_duplicates().iloc[: min(caps)])]


def _lock_contacts(connection: Connection, source: Source, most: int) -> pd.DataFrame:
    mine = {"layer": source.layer, "priority": source.priority, "request": source.request_id}
    lowest, highest = connection.execute(_ends(), mine).one()
    if lowest is None or highest is None:
        return pd.DataFrame(columns=_CONTACT_COLUMNS)
    length = highest - lowest + 1
    count = 1 if length <= most else _STRETCHES
    bounds = [lowest + length * i // count for i in range(count + 1)]
    stretches = list(itertools.pairwise(bounds))
    rows: list[Any] = []
    for turn in ("its share of each", "what is left"):
        rest = []
        for number, (start, end) in enumerate(stretches):
            room = most - len(rows)
            # Rounded up here and down there, or some stretches would be empty long before the others.
            dither = (number + lowest) * _GOLDEN_RATIO % 1
            wanted = math.floor(room / (count - number) + dither) if turn == "its share of each" else room
            if wanted == 0:
                rest.append((start, end))
                continue
            found = connection.execute(_stretch(), {**mine, "start": start, "end": end, "most": wanted}).all()
            rows += found
            if len(found) == wanted:
                rest.append((found[-1].queue_id + 1, end))
        stretches = rest
    frame = frame_of(rows, _CONTACT_COLUMNS)
    return frame.sort_values("queue_id", ignore_index=True)


@cache
def _ends() -> Select[int | None, int | None]:
    return select(func.min(QueuedContact.queue_id), func.max(QueuedContact.queue_id)).where(*_OF_SOURCE)


@cache
def _stretch() -> Select[int, int, str, bytes | None, datetime | None]:
    return (
        select(
            QueuedContact.queue_id,
            QueuedContact.global_id,
            Contact.email,
            Contact.bouncer_address_key,
            QueuedContact.verdict_after_ts,
        )
        .join(Contact, Contact.global_id == QueuedContact.global_id)
        .where(*_OF_SOURCE, QueuedContact.queue_id >= bindparam("start"), QueuedContact.queue_id < bindparam("end"))
        .order_by(QueuedContact.queue_id)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True)
    )


def _fail_invalid(connection: Connection, invalid: pd.DataFrame) -> int:
    for reason, contacts in invalid.groupby("reason"):
        staged = stage(connection, "claim_invalid", {"queue_id": Integer()}, contacts[["queue_id"]])
        connection.execute(
            update(QueuedContact)
            .where(QueuedContact.queue_id == staged.c.queue_id)
            .values(
                status=QueueStatus.FAILED,
                error_message=f"not an address that can be mailed to: {reason}",
                completed_ts=func.current_timestamp(),
            )
        )
    return len(invalid)


def _make_batches(
    connection: Connection,
    account: str,
    source: Source,
    contacts: pd.DataFrame,
    batch_size: int,
    *,
    realtime: bool,
) -> tuple[BatchTitle, ...]:
    if contacts.empty:
        return ()
    addresses = contacts.drop_duplicates("key")
    numbers = pd.Series(lay_out(addresses["domain"], batch_size)["batch"].to_numpy(), index=addresses["key"])
    made = [
        BatchTitle(
            transitions.make(
                connection,
                account=account,
                layer=source.layer,
                user_id=source.user_id,
                request_id=source.request_id,
                priority=source.priority,
                quantity=int(quantity),
                realtime=realtime,
            ),
            int(quantity),
            source.request_id,
            source.priority,
            account,
            realtime=realtime,
        )
        for quantity in numbers.value_counts().sort_index()
    ]
    ids = numbers.map(dict(enumerate(batch.id for batch in made)))
    assigned = pd.DataFrame(
        {
            "queue_id": contacts["queue_id"],
            "batch_id": contacts["key"].map(ids),
            "domain_hash": contacts["domain"].map({d: domain_hash(d) for d in contacts["domain"].unique()}),
        }
    )
    columns: dict[str, TypeEngine[Any]] = {"queue_id": Integer(), "batch_id": Integer(), "domain_hash": String(64)}
    staged = stage(connection, "claim_assigned", columns, assigned)
    connection.execute(
        update(QueuedContact)
        .where(QueuedContact.queue_id == staged.c.queue_id)
        .values(
            status=QueueStatus.ASSIGNED,
            batch_id=staged.c.batch_id,
            domain_hash=staged.c.domain_hash,
            assigned_ts=func.current_timestamp(),
        )
    )
    return tuple(made)
