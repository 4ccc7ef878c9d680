"""Real time: a handful of addresses is asked for one by one, and each verdict is stored as it comes.

Before addresses are sent, their number is written into the batch's row, and taken out with their verdicts. What a kill
leaves there is all that may have been paid for without a verdict.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pandas as pd
from sqlalchemy import ColumnElement, Connection, Integer, exists, func, select, update

from bouncer.accounts.upload_history import count_upload
from bouncer.addresses.normalisation import address_key
from bouncer.api.answers import Verdict
from bouncer.batches import transitions
from bouncer.batches.admission import Admission, erased_so_far, is_cancelled, lock_account
from bouncer.batches.state import BatchWork
from bouncer.safe_text import clean_message
from bouncer.storage.bulk import stage
from bouncer.storage.tables import QueuedContact, QueueStatus
from bouncer.storage.transactions import reading, writing
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.matching import Awaited, await_verdicts, expected_credits, prepare
from bouncer.verdicts.second_chances import Chances, give_second_chances, keep_verdicts
from bouncer.verdicts.storing import write_verdicts

__all__ = ["begin", "complete", "next_addresses", "store"]


@reading
def next_addresses(
    connection: Connection, batch: BatchWork, most: int, lost: Mapping[str, int] = MappingProxyType({})
) -> list[str]:
    """The next addresses of a batch without a verdict, each once, in the order of the queue.

    Args:
        connection: In a transaction.
        batch: The batch.
        most: How many at most.
        lost: How often the answer on an address was lost; one with a lost answer comes after all others.
    """
    waiting = await_verdicts(connection, batch.id).contacts.drop_duplicates("address_key")
    return sorted(map(str, waiting["email"]), key=lambda email: lost.get(email, 0))[:most]


@writing
def begin(connection: Connection, batch: BatchWork, addresses: int, erased: int | None = None) -> Admission:
    """Lets so many addresses be sent, and writes down that they are, as ``admission.admit_upload`` does for an upload.

    Args:
        connection: In a transaction that writes.
        batch: The batch, owned by the caller.
        addresses: How many are sent.
        erased: How many were erased when these were read, as in ``admission.admit_upload``.

    Raises:
        OwnershipLost: Another run has the batch now.
    """
    paused = lock_account(connection, batch.account)
    if paused is not None:
        return Admission.PAUSED
    if is_cancelled(connection, batch.request_id):
        return Admission.CANCELLED
    if erased is not None and erased_so_far(connection, batch.id) != erased:
        return Admission.ERASED
    transitions.begin_asking(connection, batch, addresses)
    count_upload(connection, batch.account)
    return Admission.ADMITTED


@writing
def store(  # noqa: PLR0913  # each is a part of what came of one round
    connection: Connection,
    batch: BatchWork,
    verdicts: Sequence[Verdict],
    refused: Mapping[str, str],
    *,
    lost: int,
    hold: bool,
    chances: Chances,
    fresh_for: FreshFor,
) -> int:
    """Stores what came of the addresses that were sent, in one transaction. Safe to run twice.

    Args:
        connection: In a transaction that writes.
        batch: The batch, owned by the caller.
        verdicts: On as many of its addresses as were answered.
        refused: Addresses that Bouncer will never take, each with its reason; their contacts fail.
        lost: How many answers were lost; each may have been paid for.
        hold: Whether these wait for a person then.
        chances: How often and when contacts without a clear verdict are retried.
        fresh_for: How long a deep verdict stays good, which a basic one that tells less does not replace.

    Returns:
        How many contacts got a verdict.

    Raises:
        OwnershipLost: Another run has the batch now.
    """
    if transitions.lock(connection, batch).unanswered == 0:
        # An earlier try took effect, and only the answer to its commit was lost.
        return 0
    waiting = await_verdicts(connection, batch.id)
    prepared = prepare(verdicts, waiting)
    matched = prepared.matched
    if not matched.empty:
        write_verdicts(connection, batch.id, batch.layer, matched, fresh_for)
        _settle(connection, matched, QueueStatus.COMPLETED, None)
        give_second_chances(connection, batch.id, batch.layer, matched, chances)
    if refused:
        _fail(connection, waiting, refused)
        keep_verdicts(connection, QueuedContact.batch_id == batch.id)
    transitions.record_answers(
        connection,
        batch,
        # Verdicts on addresses whose contacts are gone are stored nowhere, but were paid for.
        answered=int(matched["address_key"].nunique()) + prepared.unmatched,
        expected=expected_credits(matched) + prepared.unmatched_credits,
        lost=lost,
        hold=hold,
    )
    return len(matched)


@writing
def complete(connection: Connection, batch: BatchWork) -> bool:
    """Ends a batch once none of its contacts waits.

    Returns:
        Whether it is at its end; not where another contact has joined it meanwhile.

    Raises:
        OwnershipLost: Another run has the batch now.
    """
    # Whoever joins it locks its row too.
    transitions.lock(connection, batch)
    still_waits = exists().where(QueuedContact.batch_id == batch.id, QueuedContact.status == QueueStatus.ASSIGNED)
    if connection.scalar(select(still_waits)):
        return False
    transitions.complete_asking(connection, batch)
    return True


def _fail(connection: Connection, waiting: Awaited, refused: Mapping[str, str]) -> None:
    for address, reason in refused.items():
        contacts = waiting.contacts[waiting.contacts["address_key"] == address_key(address)]
        if not contacts.empty:
            _settle(connection, contacts, QueueStatus.FAILED, clean_message(reason))


def _settle(connection: Connection, contacts: pd.DataFrame, status: QueueStatus, reason: str | None) -> None:
    staged = stage(connection, "realtime_settled", {"queue_id": Integer()}, contacts[["queue_id"]])
    attempts: dict[str, ColumnElement[int]] = {}
    if status is QueueStatus.FAILED:
        attempts = {"attempts": QueuedContact.attempts + 1}
    connection.execute(
        update(QueuedContact)
        .where(QueuedContact.queue_id == staged.c.queue_id, QueuedContact.status == QueueStatus.ASSIGNED)
        .values(status=status, completed_ts=func.current_timestamp(), error_message=reason, **attempts)
    )
