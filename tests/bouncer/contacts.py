"""Contacts in the queue, and batches at any step: made quickly, and by the project's own steps."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, Row, func, insert, select, update
from sqlalchemy.orm import InstrumentedAttribute

from bouncer.api.answers import Verdict, VerdictList
from bouncer.batches import admission, ownership, transitions
from bouncer.batches.admission import Admission
from bouncer.batches.batches_in_flight import Places
from bouncer.batches.load import LoadReport, load
from bouncer.batches.state import BatchWork
from bouncer.queue import claiming
from bouncer.queue.claiming import Claimed
from bouncer.storage.dialects import database_now, is_sqlite
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch, Contact, Priority, QueuedContact, Request, User
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.matching import prepare

__all__ = [
    "ACCOUNT",
    "at_once",
    "batch_rows",
    "claim",
    "load_verdicts",
    "new_request",
    "new_user",
    "queue",
    "queue_again",
    "queue_rows",
    "refusing_update",
    "sent",
    "set_back",
    "small_batches",
    "take",
    "upload",
    "verdicts",
    "verify",
]

ACCOUNT = "default"
_Return = TypeVar("_Return")


def new_user(engine: Engine) -> int:
    """Makes a user."""
    return write(engine, lambda c: _inserted(c, insert(User).values(email="me@example.com")))


def new_request(engine: Engine, user_id: int | None = None) -> int:
    """Makes a request, of a user of its own unless told."""
    owner = new_user(engine) if user_id is None else user_id
    return write(engine, lambda c: _inserted(c, insert(Request).values(user_id=owner, name="leads")))


def queue(
    engine: Engine, emails: Iterable[str], *, request_id: int | None = None, priority: int = Priority.NORMAL
) -> list[int]:
    """Puts new contacts into the queue as an application does: without key and hash of the domain.

    Args:
        engine: The database.
        emails: Their addresses.
        request_id: The request, a new one unless told.
        priority: How urgent they are.

    Returns:
        The ``global_id`` of each.
    """
    addresses = list(emails)

    def insert_contacts(connection: Connection) -> list[int]:
        first = (connection.scalar(select(func.max(Contact.global_id))) or 0) + 1
        ids = list(range(first, first + len(addresses)))
        rows = [{"global_id": id_, "email": email} for id_, email in zip(ids, addresses, strict=True)]
        connection.execute(insert(Contact), rows)
        return ids

    ids = write(engine, insert_contacts)
    queue_again(engine, ids, request_id=request_id, priority=priority)
    return ids


def queue_again(
    engine: Engine, global_ids: Iterable[int], *, request_id: int | None = None, priority: int = Priority.NORMAL
) -> None:
    """Puts contacts that there are into the queue."""
    request = new_request(engine) if request_id is None else request_id

    def insert_rows(connection: Connection) -> None:
        user = connection.scalar(select(Request.user_id).where(Request.request_id == request))
        shared = {"user_id": user, "request_id": request, "priority": int(priority)}
        connection.execute(insert(QueuedContact), [{"global_id": id_, **shared} for id_ in global_ids])

    write(engine, insert_rows)


def queue_rows(engine: Engine) -> list[Row[Any]]:
    """The queue in its order, with the address and the latest verdict of each contact."""
    columns = [c for c in Contact.__table__.columns if c.name != "global_id"]
    query = select(QueuedContact.__table__, *columns).join(Contact, Contact.global_id == QueuedContact.global_id)
    return read(engine, lambda c: list(c.execute(query.order_by(QueuedContact.queue_id)).all()))


def batch_rows(engine: Engine) -> list[Row[Any]]:
    """All batches, oldest first."""
    return read(engine, lambda c: list(c.execute(select(Batch.__table__).order_by(Batch.id)).all()))


def set_back(engine: Engine, column: InstrumentedAttribute[Any], seconds: float, *where: ColumnElement[bool]) -> None:
    """Sets a moment so many seconds before the database's present."""

    def change(connection: Connection) -> None:
        moment = database_now(connection) - timedelta(seconds=seconds)
        connection.execute(update(column.class_).where(*where).values({column.key: moment}))

    write(engine, change)


def claim(
    engine: Engine,
    *,
    batches: int = 15,
    batch_size: int = 10_000,
    fresh_for: FreshFor | None = None,
    request_id: int | None = None,
    slots: int | None = None,
) -> Claimed:
    """Claims contacts once."""
    return write(
        engine,
        claiming.claim,
        ACCOUNT,
        batches=batches,
        batch_size=batch_size,
        fresh_for=fresh_for or FreshFor(),
        request_id=request_id,
        places=None if slots is None else Places(slots),
    )


def small_batches(engine: Engine, count: int, *, priority: int = Priority.NORMAL) -> list[int]:
    """Makes batches of two contacts each, of a request of their own, and returns their ids."""
    taken = len(queue_rows(engine))
    queue(engine, (f"a{number}@example.com" for number in range(taken, taken + 2 * count)), priority=priority)
    return [batch.id for batch in claim(engine, batches=count, batch_size=2).batches]


def take(engine: Engine, batch_id: int, owner: str = "worker") -> BatchWork:
    """Takes a batch that nobody else works on."""
    taken = write(engine, ownership.take, batch_id, owner)
    assert taken is not None
    return taken


def upload(engine: Engine, batch_id: int, owner: str = "worker", *, most: int = 15) -> BatchWork:
    """Takes a batch to Bouncer, under the id ``bouncer-N``."""
    taken = take(engine, batch_id, owner)
    assert write(engine, admission.admit_upload, taken, most) is Admission.ADMITTED
    write(engine, transitions.record_upload, taken, f"bouncer-{batch_id}", 0)
    return take(engine, batch_id, owner)


def verify(engine: Engine, batch_id: int, owner: str = "worker") -> BatchWork:
    """Takes a batch to Bouncer and to completion there."""
    uploaded = upload(engine, batch_id, owner)
    write(engine, transitions.record_verified, uploaded, uploaded.quantity)
    return take(engine, batch_id, owner)


def sent(engine: Engine, batch_id: int) -> list[str]:
    """The addresses of a batch, as they are uploaded."""
    return read(engine, admission.addresses_to_send, batch_id)


_PLAIN = {"status": "deliverable", "reason": "accepted_email"}


def verdicts(addresses: Iterable[str], **fields: Any) -> list[Verdict]:
    """A verdict on each address, deliverable unless told."""
    return VerdictList.validate_python([{"email": a, **_PLAIN, **fields} for a in addresses])


def load_verdicts(engine: Engine, batch: BatchWork, answers: Sequence[Verdict]) -> LoadReport:
    """Loads the verdicts of a batch."""
    return write(engine, load, batch, prepare(answers))


def refusing_update(engine: Engine, table: str, condition: str) -> str:
    """The statement for a trigger ``refuse`` that lets an UPDATE fail at the rows that meet a condition."""
    if is_sqlite(engine):
        action = f"WHEN {condition} BEGIN SELECT RAISE(ABORT, 'refused'); END"
    else:
        action = f"FOR EACH ROW IF {condition} THEN SIGNAL SQLSTATE '45000'; END IF"
    return f"CREATE TRIGGER refuse BEFORE UPDATE ON {table} {action}"


def at_once(calls: Sequence[Callable[[], _Return]]) -> list[_Return]:
    """Makes calls at the same moment, each in a thread of its own, and returns what they returned."""
    barrier = Barrier(len(calls))

    def together(call: Callable[[], _Return]) -> _Return:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(together, calls))


def _inserted(connection: Connection, statement: Any) -> int:
    key: int = connection.execute(statement).lastrowid
    return key
