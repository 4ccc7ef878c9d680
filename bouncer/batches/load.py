"""Loading: the verdicts of a batch go into results, contacts, queue and batch, in bulk and in one transaction.

Verdicts are joined on the address, never on position. Loading the same batch again changes nothing.
"""

from dataclasses import dataclass

import pandas as pd
from sqlalchemy import (
    Connection,
    Integer,
    func,
    select,
    update,
)

from bouncer.batches import transitions
from bouncer.batches.admission import is_cancelled
from bouncer.batches.endings import requeue_freely, requeue_or_fail
from bouncer.batches.state import BatchState, BatchWork
from bouncer.errors import OwnershipLost
from bouncer.storage.bulk import stage
from bouncer.storage.tables import Batch, QueuedContact, QueueStatus
from bouncer.storage.transactions import writing
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.matching import Awaited, Prepared, await_verdicts, expected_credits, prepare
from bouncer.verdicts.second_chances import Chances, give_second_chances, keep_verdicts
from bouncer.verdicts.storing import write_verdicts

__all__ = [
    "LoadReport",
    "load",
]

_CHANCES = Chances()
_FRESH_FOR = FreshFor()


@dataclass(frozen=True)
class LoadReport:
    """Result of a load.

    Attributes:
        settled: Contacts with a verdict.
        missing: Contacts whose address came back without one; requeued, or failed after several tries.
        maybe_paid: Addresses of these that Bouncer may have charged all the same.
        unmatched: Verdicts for addresses that are not in the batch.
        by_status: Contacts by verdict.
    """

    settled: int
    missing: int
    unmatched: int
    by_status: dict[str, int]
    maybe_paid: int = 0


@writing
def load(
    connection: Connection,
    batch: BatchWork,
    prepared: Prepared,
    chances: Chances = _CHANCES,
    fresh_for: FreshFor = _FRESH_FOR,
) -> LoadReport:
    """Writes the verdicts of a batch.

    Args:
        connection: In a transaction that writes; all or nothing.
        batch: The batch, owned by the caller.
        prepared: Its verdicts, from ``prepare``; joined anew here where other contacts have come to wait since.
        chances: How often and when contacts without a clear verdict are retried.
        fresh_for: How long a deep verdict stays good, which a basic one that tells less does not replace.

    Returns:
        What was settled and what was not.

    Raises:
        OwnershipLost: Another run has the batch now, or has loaded it already.
    """
    row = transitions.lock(connection, batch)
    if row.state is not BatchState.VERIFIED:
        raise OwnershipLost(f"batch {batch.id} was taken over by another run; nothing is lost")
    awaited, prepared = _present(connection, batch.id, prepared)
    contacts, matched = awaited.contacts, prepared.matched
    without = contacts[~contacts["queue_id"].isin(matched["queue_id"])]
    missing = _requeue_missing(connection, without, was_cut_short=is_cancelled(connection, batch.request_id))
    if missing:
        keep_verdicts(connection, QueuedContact.batch_id == batch.id)
    if not matched.empty:
        write_verdicts(connection, batch.id, batch.layer, matched, fresh_for)
        connection.execute(
            update(QueuedContact)
            .where(QueuedContact.batch_id == batch.id, QueuedContact.status == QueueStatus.ASSIGNED)
            .values(status=QueueStatus.COMPLETED, completed_ts=func.current_timestamp(), error_message=None)
        )
        give_second_chances(connection, batch.id, batch.layer, matched, chances)
    # Verdicts on addresses that were erased since are stored nowhere, but were paid for.
    erased = min(row.erased, prepared.unmatched)
    expected = expected_credits(matched) + min(erased, prepared.unmatched_credits)
    answered = int(matched["address_key"].nunique()) + erased
    paid_for_nothing = row.processed - answered if row.credits is None else row.credits - expected
    maybe_paid = max(0, min(int(without["address_key"].nunique()), paid_for_nothing))
    were_unknown = matched[matched["was_unknown"] == 1]
    transitions.complete(
        connection,
        batch,
        processed=Batch.quantity,
        expected_credits=expected,
        unknown_before=were_unknown["address_key"].nunique(),
        unknown_resolved=expected_credits(were_unknown),
        missing=missing,
        lost_addresses=maybe_paid,
        unmatched=prepared.unmatched - erased,
    )
    return LoadReport(
        settled=len(matched),
        missing=missing,
        unmatched=prepared.unmatched - erased,
        by_status={str(status): int(count) for status, count in matched["bouncer_status"].value_counts().items()},
        maybe_paid=maybe_paid,
    )


def _present(connection: Connection, id: int, prepared: Prepared) -> tuple[Awaited, Prepared]:  # noqa: A002  # the column's name
    if prepared.awaited is not None:
        count, total = connection.execute(
            select(func.count(), func.coalesce(func.sum(QueuedContact.queue_id), 0)).where(
                QueuedContact.batch_id == id, QueuedContact.status == QueueStatus.ASSIGNED
            )
        ).one()
        # The batch is locked by now, so nobody joins it any more.
        if (count, int(total)) == prepared.awaited.fingerprint:
            return prepared.awaited, prepared
    awaited = await_verdicts(connection, id)
    return awaited, prepare(prepared.verdicts, awaited)


def _requeue_missing(connection: Connection, contacts: pd.DataFrame, *, was_cut_short: bool) -> int:
    if contacts.empty:
        return 0
    staged = stage(connection, "load_missing", {"queue_id": Integer()}, contacts)
    missing = update(QueuedContact).where(
        QueuedContact.queue_id == staged.c.queue_id, QueuedContact.status == QueueStatus.ASSIGNED
    )
    if was_cut_short:
        # Its request was cancelled: that is no failure of the contacts that other requests have in it.
        return requeue_freely(connection, missing)
    return requeue_or_fail(
        connection, missing, "Bouncer gave no verdict on this address, although it was sent several times"
    )
