"""Contacts as an application queues them, and what became of them."""

from collections import Counter
from collections.abc import Sequence

import httpx
from sqlalchemy import Connection, Engine, func, insert, select

from bouncer.addresses.normalisation import address_key
from bouncer.storage.dialects import insert_ignoring
from bouncer.storage.engine import write
from bouncer.storage.tables import Contact, QueuedContact, Request, Result, User
from tests.sandbox_process import SandboxHandle

__all__ = ["addresses", "assert_verified_once", "queue", "queue_known", "statuses"]

_DOMAINS = ("gmail.com", "example.com", "example.org", "outlook.com", "firm.example", "shop.example", "club.example")


def addresses(count: int, *, prefix: str = "contact") -> list[str]:
    """So many different addresses, over several domains."""
    return [f"{prefix}.{number}@{_DOMAINS[number % len(_DOMAINS)]}" for number in range(count)]


def queue(engine: Engine, emails: Sequence[str], *, request: int = 1, priority: int = 50) -> list[int]:
    """Makes and queues a contact for each address, by statements that an application runs itself.

    Returns:
        The ids of the contacts.
    """
    return write(engine, _queue, emails, request, priority)


def queue_known(engine: Engine, contacts: Sequence[int], *, request: int, priority: int = 50) -> None:
    """Queues contacts that are there already, for another request."""
    write(engine, _insert, contacts, request, priority)


def statuses(engine: Engine, *, request: int | None = None) -> dict[str, int]:
    """Counts queue rows by status."""
    query = select(QueuedContact.status, func.count()).group_by(QueuedContact.status)
    if request is not None:
        query = query.where(QueuedContact.request_id == request)
    with engine.connect() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def assert_verified_once(engine: Engine, sandbox: SandboxHandle, *, contacts: int) -> None:
    """Every contact has exactly one result, and it is what Bouncer said of its address; no address was sent twice."""
    ledger = sandbox.ledger()
    assert ledger["addresses_twice"] == 0
    assert ledger["addresses_charged_twice"] == 0
    said = _said(sandbox)
    with engine.connect() as connection:
        results = Counter(connection.scalars(select(Result.global_id)))
        rows = connection.execute(select(Contact.global_id, Contact.email, Contact.bouncer_status)).all()
    assert len(rows) == contacts
    assert results == {row.global_id: 1 for row in rows}
    assert {row.email: row.bouncer_status for row in rows} == {
        row.email: said[address_key(row.email.lower())] for row in rows
    }
    assert set(statuses(engine)) == {"completed"}


def _said(sandbox: SandboxHandle) -> dict[bytes, str]:
    with httpx.Client(base_url=sandbox.url, timeout=30) as client:
        answers = [
            client.get(f"/email/verify/batch/{batch['id']}/download", headers={"x-api-key": batch["key"]})
            .raise_for_status()
            .json()
            for batch in sandbox.batches()
        ]
    return {address_key(result["email"]): result["status"] for answer in answers for result in answer}


def _queue(connection: Connection, emails: Sequence[str], request: int, priority: int) -> list[int]:
    before = connection.scalar(select(func.max(Contact.global_id))) or 0
    connection.execute(insert(Contact), [{"email": email} for email in emails])
    ids = list(connection.scalars(select(Contact.global_id).where(Contact.global_id > before)))
    _insert(connection, ids, request, priority)
    return ids


def _insert(connection: Connection, contacts: Sequence[int], request: int, priority: int) -> None:
    connection.execute(insert_ignoring(connection, User), {"id": 1, "email": "owner@example.com"})
    connection.execute(
        insert_ignoring(connection, Request), {"request_id": request, "user_id": 1, "name": f"request {request}"}
    )
    rows = [{"global_id": id_, "user_id": 1, "request_id": request, "priority": priority} for id_ in contacts]
    connection.execute(insert(QueuedContact), rows)
