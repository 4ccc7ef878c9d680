"""Trying contacts again that have no clear verdict, once their time has come."""

from prefect import get_run_logger

from blocks.access import Access
from bouncer.plurals import counted
from bouncer.queue.due_second_chances import take_second_chances

__all__ = ["try_again"]

_CONTACTS_A_TRANSACTION = 2_000


async def try_again(access: Access) -> int:
    """Queues the contacts again whose second chance has come, in small transactions.

    Safe to run twice, and by several at once: each chance is taken once.

    Args:
        access: The database.

    Returns:
        How many contacts it was.
    """
    contacts = 0
    looked_at = _CONTACTS_A_TRANSACTION
    while looked_at == _CONTACTS_A_TRANSACTION:
        looked_at, queued = await take_second_chances(access, _CONTACTS_A_TRANSACTION)
        contacts += queued
    if contacts:
        get_run_logger().info("a second chance for %s without a clear verdict", counted(contacts, "contact"))
    return contacts
