"""Work that there is to be done, by a look that costs little: most looks of a history find nothing."""

import sqlite3
from dataclasses import dataclass

__all__ = ["WorkLeft", "look_for_work"]

# Looser than what the code goes by: what these leave out nobody would take up.
_PERHAPS_LEFT_BEHIND = (
    "SELECT id FROM Bouncer_Batches WHERE status NOT IN ('completed', 'failed')"
    " AND (owner IS NULL OR heartbeat_ts IS NULL OR unixepoch() - unixepoch(heartbeat_ts) > 12)"
    " AND (held_ts IS NULL OR callback_ts IS NOT NULL)"
)
_PERHAPS_TO_BE_COUNTED = (
    "SELECT 1 FROM Requests r WHERE bouncer_announced_ts IS NULL AND bouncer_counted_ts IS NOT NULL"
    " AND (bouncer_queued IS NULL OR unixepoch() - unixepoch(bouncer_counted_ts) >= ? OR NOT EXISTS (SELECT 1 FROM"
    " Bouncer_Queue q WHERE q.request_id = r.request_id AND q.status IN ('queued', 'assigned')))"
)
_PERHAPS_ORPHANS = (
    "SELECT 1 FROM Bouncer_Queue q LEFT JOIN Bouncer_Batches b ON b.id = q.batch_id"
    " WHERE q.status = 'assigned' AND (b.id IS NULL OR b.status IN ('completed', 'failed'))"
)


@dataclass(frozen=True)
class WorkLeft:
    """Kinds of work that there is to be done.

    Attributes:
        contacts: Whether contacts wait in the queue.
        batches: The batches that nobody seems to work on.
        chances: Whether second chances are due.
        requests: Whether requests are to be followed.
        leases: Whether batches hold slots.
        orphans: Whether contacts are assigned to a batch that is not there any more.
    """

    contacts: bool
    batches: frozenset[int]
    chances: bool
    requests: bool
    leases: bool
    orphans: bool


def look_for_work(raw: sqlite3.Connection, now: str, count_seconds: int) -> WorkLeft:
    """Looks what there is to be done.

    Args:
        raw: The contacts database.
        now: The present moment by its clock, as its columns have it.
        count_seconds: The time between two counts of a request's contacts.
    """

    def any_of(query: str, *values: object) -> bool:
        return bool(raw.execute(f"SELECT EXISTS ({query})", values).fetchone()[0])

    return WorkLeft(
        contacts=any_of("SELECT 1 FROM Bouncer_Queue WHERE status = 'queued'"),
        batches=frozenset(id_ for (id_,) in raw.execute(_PERHAPS_LEFT_BEHIND)),
        chances=any_of("SELECT 1 FROM Bouncer_Second_Chances WHERE try_again_ts <= ?", now),
        requests=any_of(_PERHAPS_TO_BE_COUNTED, count_seconds),
        leases=any_of("SELECT 1 FROM Bouncer_Batches WHERE slot_lease IS NOT NULL"),
        orphans=any_of(_PERHAPS_ORPHANS),
    )
