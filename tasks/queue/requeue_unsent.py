"""Handing work over: what an account cannot send, the others of its layer take."""

from prefect import get_run_logger

from blocks.access import Access
from bouncer.batches import endings
from bouncer.plurals import counted

__all__ = ["requeue_unsent"]


async def requeue_unsent(access: Access) -> int:
    """Puts the contacts of batches that the account has not sent back into the queue.

    Safe to run twice: a batch that Bouncer has, or may have, is left alone.

    Args:
        access: An account that is paused, or whose key was refused, beside others that are not.

    Returns:
        How many contacts it was.
    """
    contacts = await endings.return_unsent(access, access.name)
    if contacts:
        get_run_logger().warning(
            "account %s cannot send its batches; %s requeued for other accounts",
            access.name,
            counted(contacts, "contact"),
        )
    return contacts
