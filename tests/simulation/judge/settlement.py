"""What must be true at the end of a history, when faults have stopped: contacts, money, figures."""

import sqlite3
from collections import Counter
from collections.abc import Iterator

from tests.simulation.service.books import Books
from tests.simulation.service.verdicts import answer_on

__all__ = ["faults_of_settlement"]


def faults_of_settlement(raw: sqlite3.Connection, books: Books, imported: int) -> Iterator[str]:
    """Says what is wrong at the end.

    Args:
        raw: The contacts database.
        books: Bouncer's.
        imported: How many contacts were queued, without those that were deleted since.
    """
    yield from _contacts(raw, imported)
    yield from _money(raw, books)
    yield from _ledger(raw, books)
    yield from _figures(raw)


def _contacts(raw: sqlite3.Connection, imported: int) -> Iterator[str]:
    rows = raw.execute(
        "SELECT q.queue_id, q.status, q.error_message, c.email, c.bouncer_status, r.bouncer_status"
        " FROM Bouncer_Queue q JOIN Contacts_Global c ON c.global_id = q.global_id"
        " LEFT JOIN Bouncer_Results r ON r.batch_id = q.batch_id AND r.global_id = q.global_id"
    ).fetchall()
    if len(rows) != imported:
        yield f"{imported} contacts were queued, and {len(rows)} are there"
    for queue_id, status, reason, email, known, result in rows:
        if status == "failed" and not reason:
            yield f"contact {queue_id} failed without a reason"
        if status == "completed":
            possible = {answer_on(email.lower(), time).status for time in (1, 2)} - {""}
            if result is None:
                yield f"contact {queue_id} is completed without a result"
            elif result not in possible or known not in possible:
                yield f"contact {queue_id} ({email}) is {result} and {known}, Bouncer says {' or '.join(possible)}"


def _money(raw: sqlite3.Connection, books: Books) -> Iterator[str]:
    declared = raw.execute(
        "SELECT coalesce(sum(ambiguous_uploads * quantity + ambiguous_addresses + lost_addresses), 0)"
        " FROM Bouncer_Batches"
    ).fetchone()[0]
    charges: Counter[str] = Counter()
    for customer in books.customers.values():
        charges.update(customer.charges)
    twice = sum(times - 1 for times in charges.values() if times > 1)
    if twice > declared:
        yield f"{twice} addresses were paid for again, {declared} are declared"


def _ledger(raw: sqlite3.Connection, books: Books) -> Iterator[str]:
    rows = raw.execute(
        "SELECT id, batch_id, status, credits, lost_addresses, quantity, ambiguous_uploads FROM Bouncer_Batches"
    ).fetchall()
    known = {row[1]: row for row in rows if row[1] is not None}
    lost = sum(row[5] * row[6] for row in rows)
    unknown = 0
    for customer in books.customers.values():
        for order in customer.orders.values():
            row = known.get(order.id)
            if row is None:
                unknown += order.charged
                continue
            id_, _, status, charged, lost_addresses = row[:5]
            if charged is None and status == "failed":
                if order.charged > lost_addresses:
                    yield f"batch {id_} was lost, cost {order.charged}, and declares {lost_addresses}"
            elif charged != order.charged:
                yield f"batch {id_} cost {order.charged} credits, the ledger says {charged}"
    if unknown > lost:
        yield f"{unknown} credits were charged for uploads that nobody knows, {lost} addresses are declared"
    asked, doubtful = raw.execute(
        "SELECT coalesce(sum(expected_credits), 0), coalesce(sum(ambiguous_addresses), 0)"
        " FROM Bouncer_Batches WHERE realtime"
    ).fetchone()
    billed = sum(customer.realtime_billed for customer in books.customers.values())
    if not asked <= billed <= asked + doubtful:
        yield f"real time cost {billed} credits, the ledger says {asked} and at most {doubtful} more"


def _figures(raw: sqlite3.Connection) -> Iterator[str]:
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
        if sum(real) and told != real:
            yield f"request {request} says {told} (queued, in flight, done, failed or cancelled), the rows say {real}"
