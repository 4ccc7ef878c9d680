"""Contacts leave a batch without a verdict: back to the queue, or failed with a reason for a person."""

from sqlalchemy import (
    Connection,
    Integer,
    Update,
    case,
    func,
    insert,
    or_,
    select,
    update,
)

from bouncer.addresses.address_keys import renew_keys, with_keys
from bouncer.batches import transitions
from bouncer.batches.state import SETTLED, WITHOUT_ID, BatchState, BatchWork, is_in, state_of
from bouncer.batches.transition_table import RETURN_UNSENT
from bouncer.errors import OwnershipLost
from bouncer.safe_text import clean_message
from bouncer.storage.bulk import frame_of, stage
from bouncer.storage.tables import Batch, Contact, DeadLetter, QueuedContact, QueueStatus
from bouncer.storage.transactions import writing
from bouncer.verdicts.second_chances import keep_verdicts

__all__ = [
    "MOST_ATTEMPTS",
    "dissolve",
    "fail",
    "lose",
    "requeue_freely",
    "requeue_or_fail",
    "requeue_orphans",
    "return_unsent",
    "split",
]

DOUBTFUL_REFUSALS = 16
"""Refused parts of a batch, with none taken, after which addresses are sent alone to find out whether the addresses are
at fault at all: many culprits look like a request that Bouncer does not understand."""

LONE_REFUSALS_TO_GIVE_UP = 8
"""Addresses refused alone, with none taken, after which the addresses are not at fault."""

REFUSALS_TO_GIVE_UP = 512
"""The most parts of one batch that are refused before the others fail as they are. Fifty culprits among 10,000
addresses stay below: each has some log2(10,000 / 50) + 2 refused parts that it is in, and shares the upper ones."""

MOST_ATTEMPTS = 3
"""Attempts at a contact whose address comes back without a verdict before the contact fails with that reason."""


@writing
def dissolve(connection: Connection, batch: BatchWork) -> int:
    """Puts the contacts of a batch that Bouncer does not have back into the queue, at no cost to them.

    Where Bouncer has it after all, uploaded by an earlier owner, it is paid for and stays as it is.

    A batch with a lost upload keeps its row, which counts the possible double payment; so does one in real time of
    which addresses were asked for, since they may have verdicts. Any other goes.

    Returns:
        How many contacts went back.
    """
    if transitions.lock(connection, batch).state not in WITHOUT_ID:
        return 0
    returned = connection.execute(_assigned_to(batch.id).values(_waiting_again()))
    transitions.dissolve(connection, batch)
    return returned.rowcount


@writing
def return_unsent(connection: Connection, account: str) -> int:
    """Puts the contacts of batches that an account has never sent, and cannot send now, back into the queue.

    Other accounts of the layer take them. Safe to run twice: these batches go.

    Returns:
        How many contacts went back.
    """
    query = select(Batch.id).where(Batch.account == account, RETURN_UNSENT.applies)
    unsent = connection.scalars(query.with_for_update()).all()
    if not unsent:
        return 0
    its_contacts = (QueuedContact.batch_id.in_(unsent), QueuedContact.status == QueueStatus.ASSIGNED)
    returned = connection.execute(update(QueuedContact).where(*its_contacts).values(_waiting_again()))
    transitions.return_unsent(connection, unsent)
    return returned.rowcount


@writing
def lose(connection: Connection, batch: BatchWork, message: str, *, stuck: bool = False) -> int:
    """Closes a batch whose verdicts cannot be had; its contacts are requeued, at most MOST_ATTEMPTS times.

    What Bouncer may have been paid for it stays on record.

    Args:
        connection: In a transaction that writes.
        batch: The batch, owned by the caller.
        message: Why.
        stuck: It has stood still since Bouncer last reported how far it was, so that no more than that was paid.

    Returns:
        How many contacts it held.
    """
    transitions.lock(connection, batch)
    count = requeue_or_fail(connection, _assigned_to(batch.id), message)
    keep_verdicts(connection, QueuedContact.batch_id == batch.id)
    transitions.lose(connection, batch, message, stuck=stuck)
    return count


@writing
def fail(connection: Connection, batch: BatchWork, message: str) -> int:
    """Fails a batch for good: a dead letter for a person, its contacts failed with the reason.

    Returns:
        How many contacts failed.

    Raises:
        OwnershipLost: Another run has the batch now, or an earlier one has uploaded it after all.
    """
    _lock_unsent(connection, batch)
    reason = clean_message(message)
    failed = connection.execute(
        _assigned_to(batch.id).values(
            status=QueueStatus.FAILED,
            error_message=reason,
            attempts=QueuedContact.attempts + 1,
            completed_ts=func.current_timestamp(),
        )
    )
    kept = keep_verdicts(connection, QueuedContact.batch_id == batch.id)
    letter = {"batch_id": batch.id, "user_id": batch.user_id, "request_id": batch.request_id, "error_message": reason}
    connection.execute(insert(DeadLetter).values(letter))
    transitions.fail(connection, batch, reason)
    return failed.rowcount - kept


@writing
def split(connection: Connection, batch: BatchWork) -> list[int]:
    """Halves a batch that Bouncer refuses, so that in the end only the culprits fail.

    Where nothing of it is ever taken, an address is sent alone instead. The parts are new batches that go through
    everything again; equal addresses stay together, as the application has them by now. Where a single address is
    left of several that were refused, it may not be the one that they were refused for, and is a part of its own.
    What is no address any more goes back into the queue, where the next claim fails it.

    Returns:
        The ids of the parts; none where it does not help: an address that was refused alone, a batch of which nothing
        is taken, not even single addresses, or one of which REFUSALS_TO_GIVE_UP parts were refused.

    Raises:
        OwnershipLost: Another run has the batch now, or an earlier one has uploaded it after all.
    """
    _lock_unsent(connection, batch)
    root = batch.split_from or batch.id
    earlier = connection.execute(
        select(state_of(), Batch.bouncer_id.label("bouncer_id"), Batch.quantity).where(Batch.split_from == root)
    ).all()
    refused = [one.quantity for one in earlier if one.state == BatchState.FAILED and one.bouncer_id is None]
    any_taken = any(one.bouncer_id for one in earlier)
    keys = _keys_as_they_are_now(connection, batch)
    is_not_about_addresses = not any_taken and refused.count(1) >= LONE_REFUSALS_TO_GIVE_UP
    sent = connection.scalar(select(Batch.quantity).where(Batch.id == batch.id)) or 0
    is_alone = len(keys) < 2 and sent < 2
    if not keys or is_alone or is_not_about_addresses or len(refused) >= REFUSALS_TO_GIVE_UP:
        return []
    # The keys are digests, so a cut by key is as fair as any, and the address that is sent alone is any of them.
    cut = 1 if not any_taken and len(refused) >= DOUBTFUL_REFUSALS else len(keys) // 2
    cut = min(cut, len(keys) - 1)
    lower = select(Contact.global_id).where(
        Contact.global_id == QueuedContact.global_id, Contact.bouncer_address_key < keys[cut]
    )
    parts: list[int] = []
    for quantity, contacts in (
        (cut, _assigned_to(batch.id).where(lower.exists())),
        (len(keys) - cut, _assigned_to(batch.id)),
    ):
        if not quantity:
            continue
        part = transitions.make(
            connection,
            account=batch.account,
            layer=batch.layer,
            user_id=batch.user_id,
            request_id=batch.request_id,
            priority=batch.priority,
            quantity=quantity,
            split_from=root,
        )
        connection.execute(contacts.values(batch_id=part))
        parts.append(part)
    transitions.split(connection, batch, parts)
    return parts


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


@writing
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
            or_(Batch.id.is_(None), is_in(*SETTLED)),
        )
    ).all()
    if not found:
        return 0
    orphans = frame_of(found, ["queue_id", "batch_id"])
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


def _lock_unsent(connection: Connection, batch: BatchWork) -> None:
    if transitions.lock(connection, batch).state not in WITHOUT_ID:
        raise OwnershipLost(
            f"batch {batch.id} is at Bouncer after all, uploaded by an earlier run; it is paid for, and goes on there"
        )


def _keys_as_they_are_now(connection: Connection, batch: BatchWork) -> list[bytes]:
    # An application may have changed an address since it was claimed. By its old key it would stay together with those
    # that it was equal to, and they would be refused together again and again.
    rows = connection.execute(
        select(Contact.global_id, Contact.email, Contact.bouncer_address_key)
        .join(QueuedContact, QueuedContact.global_id == Contact.global_id)
        .where(QueuedContact.batch_id == batch.id, QueuedContact.status == QueueStatus.ASSIGNED)
    ).all()
    contacts = with_keys(rows)
    renew_keys(connection, contacts)
    is_none = select(Contact.global_id).where(
        Contact.global_id == QueuedContact.global_id, Contact.bouncer_address_key.is_(None)
    )
    requeue_freely(connection, _assigned_to(batch.id).where(is_none.exists()))
    return sorted(set(contacts["key"].dropna()))


def _assigned_to(id: int) -> Update:  # noqa: A002  # the column's name
    return update(QueuedContact).where(QueuedContact.batch_id == id, QueuedContact.status == QueueStatus.ASSIGNED)


def _waiting_again() -> dict[str, object]:
    return {"status": QueueStatus.QUEUED, "batch_id": None, "assigned_ts": None}
