"""How contacts leave a batch without a verdict: back to the queue, or failed with a reason for a person."""

import pandas as pd
from sqlalchemy import Connection, Integer, Update, case, delete, func, insert, or_, select, update

from bouncer.batches import UNSETTLED, BatchWork, is_unsent, was_asked_for
from bouncer.errors import OwnershipLost
from bouncer.policy import clean_message
from bouncer.staging import stage
from bouncer.tables import Batch, BatchStatus, Contact, DeadLetter, QueuedContact, QueueStatus

__all__ = [
    "MOST_ATTEMPTS",
    "dissolve",
    "fail",
    "lose",
    "new_batch",
    "requeue_freely",
    "requeue_or_fail",
    "requeue_orphans",
    "return_unsent",
    "split",
]

REFUSALS_TO_GIVE_UP = 16
"""When so many parts of a batch were refused and none taken, it is not for single addresses."""

MOST_ATTEMPTS = 3
"""How often a contact whose address came back without a verdict is sent before it fails with that reason."""


def dissolve(connection: Connection, batch: BatchWork) -> int:
    """Puts the contacts of a batch that Bouncer does not have back into the queue, at no cost to them.

    A batch with a lost upload keeps its row, which counts the possible double payment; so does one in real time of
    which addresses were asked for, since they may have verdicts. Any other goes.

    Returns:
        How many contacts went back.
    """
    lost_uploads = _lock(connection, batch)
    returned = connection.execute(_assigned_to(batch.id).values(_waiting_again()))
    if lost_uploads or connection.scalar(select(was_asked_for()).where(Batch.id == batch.id)):
        _close(connection, batch, "not uploaded; its contacts went back to the queue")
    else:
        connection.execute(delete(Batch).where(Batch.id == batch.id))
    return returned.rowcount


def return_unsent(connection: Connection, account: str) -> int:
    """Puts the contacts of batches that an account has never sent, and cannot send now, back into the queue.

    Other accounts of the layer take them. Safe to run twice: these batches go.

    Returns:
        How many contacts went back.
    """
    unsent = connection.scalars(select(Batch.id).where(*is_unsent(account)).with_for_update()).all()
    if not unsent:
        return 0
    its_contacts = (QueuedContact.batch_id.in_(unsent), QueuedContact.status == QueueStatus.ASSIGNED)
    returned = connection.execute(update(QueuedContact).where(*its_contacts).values(_waiting_again()))
    connection.execute(delete(Batch).where(Batch.id.in_(unsent)))
    return returned.rowcount


def lose(connection: Connection, batch: BatchWork, message: str) -> int:
    """Closes a batch that Bouncer no longer has; its contacts are queued again, at most MOST_ATTEMPTS times.

    Returns:
        How many contacts it held.
    """
    _lock(connection, batch)
    count = requeue_or_fail(connection, _assigned_to(batch.id), message)
    _close(connection, batch, message)
    return count


def fail(connection: Connection, batch: BatchWork, message: str) -> int:
    """Fails a batch for good: a dead letter for a person, its contacts failed with the reason.

    Returns:
        How many contacts failed.
    """
    _lock(connection, batch)
    reason = clean_message(message)
    failed = connection.execute(
        _assigned_to(batch.id).values(
            status=QueueStatus.FAILED,
            error_message=reason,
            attempts=QueuedContact.attempts + 1,
            completed_ts=func.current_timestamp(),
        )
    )
    letter = {"batch_id": batch.id, "user_id": batch.user_id, "request_id": batch.request_id, "error_message": reason}
    connection.execute(insert(DeadLetter).values(letter))
    _close(connection, batch, reason)
    return failed.rowcount


def split(connection: Connection, batch: BatchWork) -> list[int]:
    """Halves a batch that Bouncer refuses, so that in the end only the culprits fail.

    The halves are new batches that go through everything again; equal addresses stay together.

    Returns:
        The ids of the two halves; none where halving does not help: a single address, or a batch of which
        REFUSALS_TO_GIVE_UP parts were refused and none was ever taken.
    """
    _lock(connection, batch)
    root = batch.split_from or batch.id
    parts = connection.execute(select(Batch.status, Batch.batch_id).where(Batch.split_from == root)).all()
    refused = sum(part.status == BatchStatus.FAILED for part in parts)
    keys = connection.scalars(
        select(Contact.bouncer_address_key)
        .join(QueuedContact, QueuedContact.global_id == Contact.global_id)
        .where(QueuedContact.batch_id == batch.id, QueuedContact.status == QueueStatus.ASSIGNED)
        .distinct()
        .order_by(Contact.bouncer_address_key)
    ).all()
    if len(keys) < 2 or (refused >= REFUSALS_TO_GIVE_UP and not any(part.batch_id for part in parts)):
        return []
    # The keys are digests, so halving by key is as fair a cut as any.
    middle = len(keys) // 2
    lower = select(Contact.global_id).where(
        Contact.global_id == QueuedContact.global_id, Contact.bouncer_address_key < keys[middle]
    )
    halves = []
    for quantity, contacts in (
        (middle, _assigned_to(batch.id).where(lower.exists())),
        (len(keys) - middle, _assigned_to(batch.id)),
    ):
        id_of_half = new_batch(
            connection,
            account=batch.account,
            layer=batch.layer,
            user_id=batch.user_id,
            request_id=batch.request_id,
            priority=batch.priority,
            quantity=quantity,
            split_from=root,
        )
        connection.execute(contacts.values(batch_id=id_of_half))
        halves.append(id_of_half)
    _close(connection, batch, f"refused by Bouncer as a whole; halved into batches {halves[0]} and {halves[1]}")
    return halves


def requeue_or_fail(connection: Connection, contacts: Update, message: str) -> int:
    """Queues contacts again that got no verdict, or fails those that have been sent often enough.

    Args:
        connection: In a transaction.
        contacts: An UPDATE of ``Bouncer_Queue`` that names the contacts by its WHERE.
        message: Why, for those that fail.

    Returns:
        How many contacts it was.
    """
    attempts = QueuedContact.attempts + 1
    spent = attempts >= MOST_ATTEMPTS
    changed = connection.execute(
        # MySQL and MariaDB assign from left to right: attempts, which the others read, must come last.
        contacts.ordered_values(
            (QueuedContact.status, case((spent, QueueStatus.FAILED), else_=QueueStatus.QUEUED)),
            (QueuedContact.batch_id, case((spent, QueuedContact.batch_id), else_=None)),
            (QueuedContact.completed_ts, case((spent, func.current_timestamp()), else_=None)),
            (QueuedContact.error_message, case((spent, clean_message(message)), else_=None)),
            (QueuedContact.assigned_ts, None),
            (QueuedContact.attempts, attempts),
        )
    )
    return changed.rowcount


def requeue_freely(connection: Connection, contacts: Update) -> int:
    """Queues contacts again at no cost to them.

    Args:
        connection: In a transaction.
        contacts: An UPDATE of ``Bouncer_Queue`` that names the contacts by its WHERE.

    Returns:
        How many contacts it was.
    """
    return connection.execute(contacts.values(_waiting_again())).rowcount


def requeue_orphans(connection: Connection) -> int:
    """Queues contacts again that wait for a batch which will never be loaded.

    Such a batch was deleted with the request of another contact that has the same address, or was ended by an earlier
    program that died before it went on to the contacts.

    Returns:
        How many contacts it was.
    """
    # First found, then changed: an UPDATE sees contacts that a claim is just now assigning, but not yet their batch.
    found = connection.execute(
        select(QueuedContact.queue_id, QueuedContact.batch_id)
        .outerjoin(Batch, Batch.id == QueuedContact.batch_id)
        .where(
            QueuedContact.status == QueueStatus.ASSIGNED,
            or_(Batch.id.is_(None), Batch.status.not_in(UNSETTLED)),
        )
    ).all()
    if not found:
        return 0
    orphans = pd.DataFrame(found, columns=["queue_id", "batch_id"])
    staged = stage(connection, "orphans", {"queue_id": Integer(), "batch_id": Integer()}, orphans)
    changed = connection.execute(
        update(QueuedContact)
        .where(
            QueuedContact.queue_id == staged.c.queue_id,
            QueuedContact.status == QueueStatus.ASSIGNED,
            QueuedContact.batch_id.is_not_distinct_from(staged.c.batch_id),
        )
        .values(_waiting_again())
    )
    return changed.rowcount


def new_batch(connection: Connection, **columns: int | str | bool) -> int:
    """Makes the row of a batch whose contacts are about to be assigned to it, and returns its id."""
    made = connection.execute(insert(Batch).values(columns))
    key = made.inserted_primary_key
    if key is None:
        raise TypeError("the database told no id of the new batch")
    return int(key[0])


def _lock(connection: Connection, batch: BatchWork) -> int:
    # Returns the lost uploads of the row: the run may have lost some since it took the batch.
    row = connection.execute(
        select(Batch.owner, Batch.ambiguous_uploads).where(Batch.id == batch.id).with_for_update()
    ).one_or_none()
    if row is None or row.owner != batch.owner:
        raise OwnershipLost(f"batch {batch.id} was taken over by another run; nothing is lost")
    return int(row.ambiguous_uploads)


def _assigned_to(id: int) -> Update:  # noqa: A002  # the column's name
    return update(QueuedContact).where(QueuedContact.batch_id == id, QueuedContact.status == QueueStatus.ASSIGNED)


def _waiting_again() -> dict[str, object]:
    return {"status": QueueStatus.QUEUED, "batch_id": None, "assigned_ts": None}


def _close(connection: Connection, batch: BatchWork, message: str) -> None:
    connection.execute(
        update(Batch)
        .where(Batch.id == batch.id)
        .values(
            status=BatchStatus.FAILED,
            error_message=clean_message(message),
            completed_ts=func.current_timestamp(),
            owner=None,
            heartbeat_ts=None,
            slot_lease=None,
        )
    )
