"""What must be true at the end of a history, when faults have stopped: contacts, money, figures."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.simulation.service.books import Books, Order
from tests.simulation.service.verdicts import MALFORMED, answer_on

__all__ = ["Deeds", "faults_of_settlement"]

_LOST_UPLOADS = 5
"""After so many uploads of a batch whose answers were lost its contacts fail."""


@dataclass
class Deeds:
    """What people have done that the judge must know.

    Attributes:
        imported: How many contacts were queued, without those that were deleted since.
        touched: Addresses that were deleted or changed: they may be paid for once more.
        changed: Contacts whose address was changed, with the addresses that they had before.
        thinned: Requests of which contacts were deleted.
        forecast: How many addresses a forecast said would be sent, and how many credits at most; None without one.
    """

    imported: int = 0
    touched: set[str] = field(default_factory=set)
    changed: dict[int, set[str]] = field(default_factory=dict)
    thinned: set[int] = field(default_factory=set)
    forecast: tuple[int, int] | None = None


def faults_of_settlement(raw: sqlite3.Connection, books: Books, deeds: Deeds) -> Iterator[str]:
    """Says what is wrong at the end.

    Args:
        raw: The contacts database.
        books: Bouncer's.
        deeds: What people have done.
    """
    yield from _contacts(raw, deeds)
    yield from _money(raw, books, deeds)
    yield from _ledger(raw, books, deeds)
    yield from _figures(raw, deeds)
    if deeds.forecast is not None:
        yield from _forecast(raw, books, *deeds.forecast)


def _contacts(raw: sqlite3.Connection, deeds: Deeds) -> Iterator[str]:
    rows = raw.execute(
        "SELECT q.queue_id, q.global_id, q.status, q.error_message, c.email, c.bouncer_status, r.bouncer_status,"
        " b.ambiguous_uploads FROM Bouncer_Queue q JOIN Contacts_Global c ON c.global_id = q.global_id"
        " LEFT JOIN Bouncer_Batches b ON b.id = q.batch_id"
        " LEFT JOIN Bouncer_Results r ON r.batch_id = q.batch_id AND r.global_id = q.global_id"
    ).fetchall()
    twice = "SELECT global_id FROM Bouncer_Queue GROUP BY global_id, request_id, layer HAVING count(*) > 1"
    for (contact,) in raw.execute(twice):
        yield f"contact {contact} was queued twice for one request"
    if len(rows) != deeds.imported:
        yield f"{deeds.imported} contacts were queued, and {len(rows)} are there"
    for queue_id, contact, status, reason, email, known, result, lost in rows:
        if status == "failed":
            # Who changes the address of a contact that has failed does not ask for another verdict.
            had = {email.lower(), *deeds.changed.get(contact, ())}
            for fault in _failed(reason or "", had, lost or 0):
                yield f"contact {queue_id} ({email}) {fault}"
        if status == "completed" and contact not in deeds.changed:
            possible = {answer_on(email.lower(), time).status for time in (1, 2)} - {""}
            if result is None:
                yield f"contact {queue_id} is completed without a result"
            elif result not in possible or known not in possible:
                yield f"contact {queue_id} ({email}) is {result} and {known}, Bouncer says {' or '.join(possible)}"


def _failed(reason: str, had: set[str], lost: int) -> Iterator[str]:
    if not reason:
        yield "failed without a reason"
    if "Bouncer answered 400" in reason and not any(map(_is_malformed, had)):
        yield "failed for the sake of another's address"
    if "Bouncer answered 402" in reason:
        yield "failed for lack of credits, which can be bought"
    if "not an address" in reason and all("@" in email for email in had):
        yield "failed as no address"
    if "never answered" in reason and lost < _LOST_UPLOADS:
        yield f"failed after {lost} lost uploads"


def _is_malformed(address: str) -> bool:
    return address.startswith(MALFORMED)


def _money(raw: sqlite3.Connection, books: Books, deeds: Deeds) -> Iterator[str]:
    declared = raw.execute(
        "SELECT coalesce(sum(ambiguous_uploads * quantity + ambiguous_addresses + lost_addresses), 0)"
        " FROM Bouncer_Batches"
    ).fetchone()[0]
    charges: Counter[str] = Counter()
    for customer in books.customers.values():
        charges.update(customer.charges)
    twice = sum(times - 1 for address, times in charges.items() if times > 1 and address not in deeds.touched)
    if twice > declared:
        yield f"{twice} addresses were paid for again, {declared} are declared"


def _ledger(raw: sqlite3.Connection, books: Books, deeds: Deeds) -> Iterator[str]:
    rows = raw.execute(
        "SELECT id, batch_id, status, credits, lost_addresses, quantity, ambiguous_uploads FROM Bouncer_Batches"
    ).fetchall()
    known = {row[1]: row for row in rows if row[1] is not None}
    lost = sum(row[5] * row[6] for row in rows)
    orders = [order for customer in books.customers.values() for order in customer.orders.values()]
    unknown = sum(_to_be_declared(order, deeds) for order in orders if order.id not in known)
    # What is found after a restore, by its callback, stands for the upload that the backup knew of.
    unknown -= sum(order.charged for order in orders if order.id in known and order.is_forgotten)
    for order in orders:
        if order.id in known:
            id_, _, status, charged, lost_addresses = known[order.id][:5]
            if charged is None and status == "failed":
                if order.charged > lost_addresses:
                    yield f"batch {id_} was lost, cost {order.charged}, and declares {lost_addresses}"
            elif charged != order.charged:
                yield f"batch {id_} cost {order.charged} credits, the ledger says {charged}"
            if status == "failed" and _is_to_be_had(order):
                yield f"batch {id_} was given up, although Bouncer has its results"
    if unknown > lost:
        yield f"{unknown} credits were charged for uploads that nobody knows, {lost} addresses are declared"
    asked, doubtful = raw.execute(
        "SELECT coalesce(sum(expected_credits), 0), coalesce(sum(ambiguous_addresses), 0)"
        " FROM Bouncer_Batches WHERE realtime"
    ).fetchone()
    billed = sum(customer.realtime_billed for customer in books.customers.values())
    if not asked <= billed <= asked + doubtful:
        yield f"real time cost {billed} credits, the ledger says {asked} and at most {doubtful} more"


def _to_be_declared(order: Order, deeds: Deeds) -> int:
    # An address that an application deleted or changed before the upload is repeated is not paid for twice.
    if order.is_forgotten or order.completed is None:
        return 0
    return sum(answer.cost for answer in order.answers if answer.address.lower() not in deeds.touched)


def _is_to_be_had(order: Order) -> bool:
    # Whether anybody who asks for its results gets them.
    is_sound = order.stuck_at is None and not order.is_removed and not order.is_deleted
    return order.completed is not None and is_sound


def _figures(raw: sqlite3.Connection, deeds: Deeds) -> Iterator[str]:
    rows = raw.execute(
        "SELECT request_id, bouncer_queued, bouncer_in_flight, bouncer_done, bouncer_failed, bouncer_cancelled"
        " FROM Requests"
    ).fetchall()
    for request, queued, in_flight, done, failed, cancelled in rows:
        counted = Counter(
            dict(raw.execute("SELECT status, count(*) FROM Bouncer_Queue WHERE request_id = ? GROUP BY 1", (request,)))
        )
        told = (queued, in_flight, done, (failed or 0) + (cancelled or 0))
        real = (counted["queued"], counted["assigned"], counted["completed"], counted["failed"])
        if sum(real) and told != real and request not in deeds.thinned:
            yield f"request {request} says {told} (queued, in flight, done, failed or cancelled), the rows say {real}"


def _forecast(raw: sqlite3.Connection, books: Books, to_pay: int, most_credits: int) -> Iterator[str]:
    sent = {address for customer in books.customers.values() for address in customer.sent}
    refused = {
        str(email).lower() for (email,) in raw.execute("SELECT email FROM Contacts_Global") if "@" in str(email)
    } - sent
    malformed = sum(address.startswith(MALFORMED) for address in refused)
    if to_pay != len(sent) + malformed:
        yield f"a forecast said that {to_pay} addresses would be sent, {len(sent)} were, and {malformed} were refused"
    # Once also where an account lost it and another sent it again.
    bills = [customer.charges for customer in books.customers.values()]
    charged = {address for bill in bills for address, credits_ in bill.items() if credits_}
    if len(charged) > most_credits:
        yield f"a forecast said {most_credits} credits at most, each address once costs {len(charged)}"
