"""Contacts leave the tables, with their verdicts and their places in queue and batches.

A batch that was not sent yet is undone, and its other contacts are requeued. One that Bouncer has, or may have,
stays: its row counts what was erased of it, so that its load expects no contact for these verdicts and the ledger's
sums stay true, and Bouncer is asked to delete it once it is at its end.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import Connection, Delete, Update, delete, exists, func, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from bouncer.addresses.address_keys import VERDICT_OF_CONTACT
from bouncer.batches import transitions
from bouncer.batches.state import SETTLED, BatchState, state_of
from bouncer.batches.transition_table import WITHDRAW
from bouncer.requests.counting import count_contacts
from bouncer.requests.progress import correct_count
from bouncer.storage.dialects import is_sqlite
from bouncer.storage.locks import Only, alone
from bouncer.storage.tables import Account, Batch, Contact, Deletion, QueuedContact, QueueStatus, Request, Result, User

__all__ = ["Gone", "erase_contacts", "is_application_table", "leave_to_others", "lock_all", "recount", "try_to"]

_DENIED = frozenset({1142, 1143, 1048, 1451})
"""No right to the table or the column; NULL is not allowed; another table refers to the row."""


@dataclass
class Gone:
    """Everything that left the tables so far.

    Attributes:
        contacts: Contacts.
        kept_contacts: Rows of contacts that are the application's: only what was written about them here is gone.
        queued: Their rows in the queue.
        results: Their verdicts in detail.
        withdrawn: Batches that were not sent and are undone.
        at_bouncer: Batches with an erased address that Bouncer is not done with.
        to_delete: Batches with an erased address that Bouncer has verified or may have: it is asked to delete them.
        out_of_reach: Batches with an erased address that cannot be named to Bouncer: asked in real time, or lost.
        requests: Requests that had a contact of these.
    """

    contacts: int = 0
    kept_contacts: int = 0
    queued: int = 0
    results: int = 0
    withdrawn: int = 0
    at_bouncer: set[int] = field(default_factory=set)
    to_delete: set[int] = field(default_factory=set)
    out_of_reach: set[int] = field(default_factory=set)
    requests: set[int] = field(default_factory=set)


def lock_all(connection: Connection) -> None:
    """Lets nobody import, claim or begin an upload until this transaction ends; whoever comes next sees what it did."""
    if is_sqlite(connection):
        # Or what is deleted stays in the file until its place is needed.
        connection.exec_driver_sql("PRAGMA secure_delete = ON")
    alone(connection, Only.NEW_CONTACTS)
    alone(connection, Only.CLAIM)
    connection.execute(select(Account.account).order_by(Account.account).with_for_update()).all()


def is_application_table(connection: Connection, table: type[Contact] | type[Request] | type[User]) -> bool:
    """Tells whether a table has columns that were not made here; then its rows are the application's to delete."""
    try:
        found = connection.execute(select(text("*")).select_from(table).limit(0)).keys()
    except DBAPIError as error:
        if _code_of(error) not in _DENIED:
            raise
        # The narrowest user may read our columns only, so there are others.
        return True
    return bool({name.lower() for name in found} - {column.name for column in table.__table__.columns})


def try_to(connection: Connection, statement: Update | Delete) -> int | None:
    """Changes rows that may be somebody else's.

    Returns:
        How many; None where the database, or the rights of its user, do not allow it.
    """
    try:
        with connection.begin_nested():
            return connection.execute(statement).rowcount
    except IntegrityError:
        return None
    except DBAPIError as error:
        if _code_of(error) not in _DENIED:
            raise
        return None


def erase_contacts(connection: Connection, contacts: Collection[int], gone: Gone, *, is_application: bool) -> None:
    """Erases contacts, wherever they are on their way; safe to run twice.

    Args:
        connection: In a transaction that writes, after ``lock_all``.
        contacts: Their numbers, some thousands at most.
        gone: Counts what is erased.
        is_application: Whether the table of contacts is the application's.
    """
    if not contacts:
        return
    of_them = QueuedContact.global_id.in_(contacts)
    gone.requests |= set(connection.scalars(select(QueuedContact.request_id).where(of_them).distinct()))
    _leave_batches(connection, contacts, gone)
    gone.results += connection.execute(delete(Result).where(Result.global_id.in_(contacts))).rowcount
    gone.queued += connection.execute(delete(QueuedContact).where(of_them)).rowcount
    those = Contact.global_id.in_(contacts)
    deleted = None if is_application else try_to(connection, delete(Contact).where(those))
    if deleted is None:
        bare = dict.fromkeys(("bouncer_address_key", *VERDICT_OF_CONTACT))
        gone.kept_contacts += connection.execute(update(Contact).where(those).values(bare)).rowcount
    gone.contacts += deleted or 0


def leave_to_others(connection: Connection, request_id: int, contacts: Collection[int], gone: Gone) -> None:
    """Takes contacts out of a request that others wait for too; a verdict that is on its way goes to these.

    Args:
        connection: In a transaction that writes, after ``lock_all``.
        request_id: The request.
        contacts: Their numbers.
        gone: Counts what is erased.
    """
    its = (QueuedContact.request_id == request_id, QueuedContact.global_id.in_(contacts))
    on_their_way = connection.execute(
        select(QueuedContact.global_id, QueuedContact.batch_id, QueuedContact.layer)
        .join(Batch, Batch.id == QueuedContact.batch_id)
        .where(*its, QueuedContact.status == QueueStatus.ASSIGNED)
        .with_for_update()
    ).all()
    gone.queued += connection.execute(delete(QueuedContact).where(*its)).rowcount
    for row in on_their_way:
        of_others = (QueuedContact.global_id == row.global_id, QueuedContact.layer == row.layer)
        in_it = (QueuedContact.batch_id == row.batch_id, QueuedContact.status == QueueStatus.ASSIGNED)
        if connection.scalar(select(QueuedContact.queue_id).where(*of_others, *in_it).limit(1)) is not None:
            continue
        joined = connection.execute(
            update(QueuedContact)
            .where(*of_others, QueuedContact.status == QueueStatus.QUEUED)
            .values(status=QueueStatus.ASSIGNED, batch_id=row.batch_id, assigned_ts=func.current_timestamp())
        )
        if not joined.rowcount:
            connection.execute(update(Batch).where(Batch.id == row.batch_id).values(erased=Batch.erased + 1))


def recount(connection: Connection, requests: Collection[int]) -> None:
    """Counts requests again of which contacts were erased; those that nothing was claimed of have no counts."""
    counted = select(Request.request_id).where(Request.request_id.in_(requests), Request.bouncer_queued.is_not(None))
    for request in connection.scalars(counted).all():
        correct_count(connection, request, count_contacts(connection, request))


def _code_of(error: DBAPIError) -> object:
    return error.orig.args[0] if error.orig is not None and error.orig.args else None


def _leave_batches(connection: Connection, contacts: Collection[int], gone: Gone) -> None:
    addresses = _addresses_by_batch(connection, contacts)
    if not addresses:
        return
    deleted = exists().where(Deletion.batch_id == Batch.id).label("is_deleted")
    rows = connection.execute(
        select(Batch.id, state_of(), Batch.bouncer_id.label("bouncer_id"), WITHDRAW.applies.label("is_unsent"), deleted)
        .where(Batch.id.in_(addresses))
        .order_by(Batch.id)
        .with_for_update()
    ).all()
    unsent = [row.id for row in rows if row.is_unsent]
    if unsent:
        connection.execute(
            update(QueuedContact)
            .where(QueuedContact.batch_id.in_(unsent), QueuedContact.status == QueueStatus.ASSIGNED)
            .values(status=QueueStatus.QUEUED, batch_id=None, assigned_ts=None)
        )
        transitions.withdraw(connection, unsent, "an address of it was erased after an upload of it was lost")
        gone.withdrawn += len(unsent)
    for row in rows:
        changed = connection.execute(
            update(Batch).where(Batch.id == row.id).values(erased=Batch.erased + addresses[row.id])
        )
        if not changed.rowcount or row.state == BatchState.READY or row.is_deleted:
            continue
        if row.bouncer_id is None and row.state != BatchState.UPLOADING:
            gone.out_of_reach.add(row.id)
        elif row.state in SETTLED:
            gone.to_delete.add(row.id)
        else:
            gone.at_bouncer.add(row.id)


def _addresses_by_batch(connection: Connection, contacts: Collection[int]) -> Counter[int]:
    in_batches = {
        (int(batch), int(contact))
        for batch, contact in (
            *connection.execute(
                select(QueuedContact.batch_id, QueuedContact.global_id).where(
                    QueuedContact.global_id.in_(contacts), QueuedContact.batch_id.is_not(None)
                )
            ),
            *connection.execute(select(Result.batch_id, Result.global_id).where(Result.global_id.in_(contacts))),
            *connection.execute(
                select(Contact.bouncer_batch_id, Contact.global_id).where(
                    Contact.global_id.in_(contacts), Contact.bouncer_batch_id.is_not(None)
                )
            ),
        )
    }
    keys: dict[int, bytes | None] = {
        row.global_id: row.bouncer_address_key
        for row in connection.execute(
            select(Contact.global_id, Contact.bouncer_address_key).where(Contact.global_id.in_(contacts))
        )
    }
    # Equal addresses share one place in a batch.
    return Counter(batch for batch, _ in {(batch, keys.get(contact) or contact) for batch, contact in in_batches})
