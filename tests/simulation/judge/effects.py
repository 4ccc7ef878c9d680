"""The rows that a command of a person finds, and must have changed by the time that it comes back."""

import sqlite3

__all__ = ["Failed", "failed_contacts", "held_batches", "letters", "still_failed", "still_held", "waiting_contacts"]

Failed = dict[int, tuple[int, int]]
"""Contacts that have failed, each with how often they were claimed and whether a cancellation took them out."""

_NOT_CANCELLED = "request_id NOT IN (SELECT request_id FROM Requests WHERE bouncer_cancelled_ts IS NOT NULL)"


def failed_contacts(raw: sqlite3.Connection, request: int | None) -> Failed:
    """Finds what a requeue is about: of a request, or of all that are not cancelled."""
    if request is None:
        return _failed(raw, f"attempts > 0 AND {_NOT_CANCELLED}")
    return _failed(raw, f"(attempts > 0 OR cancelled) AND request_id = {request:d}")


def _failed(raw: sqlite3.Connection, where: str) -> Failed:
    found = raw.execute(f"SELECT queue_id, attempts, cancelled FROM Bouncer_Queue WHERE status = 'failed' AND {where}")
    return {contact: (attempts, cancelled) for contact, attempts, cancelled in found}


def still_failed(raw: sqlite3.Connection, before: Failed) -> list[int]:
    """Says which of these have failed as before; one that failed again was claimed once more, or is no address."""
    now = _failed(raw, "TRUE")
    return sorted(contact for contact, how in before.items() if now.get(contact) == how)


def letters(raw: sqlite3.Connection, request: int | None) -> set[int]:
    """Finds the dead letters that nobody has reviewed: of a request, or of all that are not cancelled."""
    theirs = _NOT_CANCELLED if request is None else f"request_id = {request:d}"
    unread = f"SELECT id FROM Bouncer_Dead_Letter_Queue WHERE coalesce(reviewed, 0) = 0 AND {theirs}"
    return {id_ for (id_,) in raw.execute(unread)}


def waiting_contacts(raw: sqlite3.Connection, request: int) -> set[int]:
    """Finds what of a request waits in the queue."""
    query = "SELECT queue_id FROM Bouncer_Queue WHERE request_id = ? AND status = 'queued'"
    return {id_ for (id_,) in raw.execute(query, (request,))}


def held_batches(raw: sqlite3.Connection) -> dict[int, int]:
    """Finds what is held and may be sent again, each with how many answers about it were lost."""
    lost = "ambiguous_uploads + ambiguous_addresses"
    return dict(raw.execute(f"SELECT id, {lost} FROM Bouncer_Batches WHERE held_ts IS NOT NULL AND {_NOT_CANCELLED}"))


def still_held(raw: sqlite3.Connection, before: dict[int, int]) -> list[int]:
    """Says which of these are held as before; one that is held again was lost once more."""
    now = held_batches(raw)
    return sorted(batch for batch, lost in before.items() if batch in now and now[batch] <= lost)
