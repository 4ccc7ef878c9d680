"""Keeping the count of uploads outside the contacts database too, so that one that was put back in time is noticed."""

from bouncer.accounts import upload_history
from bouncer.steps.ports import Access, Run

__all__ = ["mark_upload", "pause_if_older"]


async def pause_if_older(access: Access, run: Run) -> None:
    """Pauses the account where its contacts database is older than uploads that were made from it.

    Raises:
        OrchestratorUnavailable: The Prefect server does not come back.
    """
    counted = await upload_history.read_uploads(access, access.name)
    mark = await run.marks.read(counted.history)
    if mark.uploads <= counted.uploads:
        return
    if await upload_history.begin_new_history(access, access.name, mark):
        reason = upload_history.OLDER_THAN_ITS_UPLOADS
        run.log.warning("account %s is paused: %s", access.name, reason)
        run.announce("uploads.paused", account=access.name, by="ingest", reason=reason)


async def mark_upload(access: Access, run: Run) -> None:
    """Writes the count down outside the database, after an upload was counted and before its first byte is sent.

    Raises:
        OrchestratorUnavailable: The Prefect server does not come back.
    """
    await run.marks.write(await upload_history.read_uploads(access, access.name))
