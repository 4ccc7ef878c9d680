"""Keeping the count of uploads in Prefect too, so that a contacts database that was put back in time is noticed."""

from prefect import get_run_logger

from blocks.access import Access
from blocks.upload_marks import read_mark, write_mark
from bouncer.accounts import upload_history
from tasks.running.events import announce

__all__ = ["mark_upload", "pause_if_older"]


async def pause_if_older(access: Access) -> None:
    """Pauses the account where its contacts database is older than uploads that were made from it.

    Raises:
        OrchestratorUnavailable: The Prefect server does not come back.
    """
    counted = await access.read(upload_history.read_uploads, access.name)
    mark = await read_mark(counted.history)
    if mark.uploads <= counted.uploads:
        return
    if await access.write(upload_history.begin_new_history, access.name, mark):
        reason = upload_history.OLDER_THAN_ITS_UPLOADS
        get_run_logger().warning("account %s is paused: %s", access.name, reason)
        announce("uploads.paused", account=access.name, by="ingest", reason=reason)


async def mark_upload(access: Access) -> None:
    """Writes the count down in Prefect, after an upload was counted and before its first byte is sent.

    Raises:
        OrchestratorUnavailable: The Prefect server does not come back.
    """
    await write_mark(await access.read(upload_history.read_uploads, access.name))
