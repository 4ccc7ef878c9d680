"""Following requests: their figures are kept up to date, and each completion is announced once."""

import time

import httpx
from prefect import get_run_logger
from prefect.exceptions import PrefectException

from blocks.access import Access
from bouncer.plurals import counted
from bouncer.requests import counting
from bouncer.requests import progress as request_progress
from bouncer.requests.names import called
from bouncer.requests.progress import Completion, RequestUnderWay
from bouncer.safe_text import clean_message
from tasks.requests.lists_page import publish_lists
from tasks.requests.report import publish_report
from tasks.running.events import announce_of_request

__all__ = ["RequestFollower", "follow_requests"]

_SHARE_OF_TIME = 20


class RequestFollower:
    """Follows requests again and again, and spends no more than a twentieth of the time with it.

    Args:
        access: The database.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._not_before = 0.0

    async def follow(self) -> None:
        """Follows them now, unless the last time was too dear to do it again so soon."""
        began = time.monotonic()
        if began < self._not_before:
            return
        await follow_requests(self._access)
        ended = time.monotonic()
        self._not_before = ended + _SHARE_OF_TIME * (ended - began)


async def follow_requests(access: Access) -> None:
    """Counts the requests that are due, and announces those that have become complete, each with its artifact.

    Safe to run twice, and by several at once: one of them takes a request to its end and says so. If that one dies
    in between, another says it, under the same id, which the Prefect server takes once.
    """
    changed = False
    for request in await request_progress.under_way(access):
        completion: Completion | None = None
        if request.is_unannounced:
            completion = await request_progress.completion_of(access, request.request_id)
        elif not request.is_open or request.is_due:
            completion = await _count(access, request)
            changed = True
        if completion is not None:
            await _announce(access, completion)
    if changed:
        await publish_lists(access)


async def _count(access: Access, request: RequestUnderWay) -> Completion | None:
    if not await request_progress.claim_count(access, request):
        return None
    counted = await counting.count_contacts(access, request.request_id)
    if counted.open:
        await request_progress.record_count(access, request.request_id, counted)
        return None
    return await request_progress.complete(access, request.request_id, counted)


async def _announce(access: Access, completion: Completion) -> None:
    try:
        # First, so that whoever hears of it finds it.
        await publish_report(access, completion)
        await announce_of_request(
            "request.completed",
            request_id=completion.request_id,
            once=completion.completed_ts,
            done=completion.done,
            failed=completion.failed,
            cancelled=completion.cancelled,
            name=clean_message(completion.name or ""),
        )
    except (httpx.HTTPError, PrefectException) as error:
        get_run_logger().warning(
            "%s is complete, but the Prefect server could not be informed (%s); the event is sent later",
            called(completion.request_id, completion.name),
            type(error).__name__,
        )
        return
    await request_progress.record_announced(access, completion)
    get_run_logger().info(
        "%s is complete: %s a verdict, %d failed, %d cancelled",
        called(completion.request_id, completion.name),
        counted(completion.done, "contact has", "contacts have"),
        completion.failed,
        completion.cancelled,
    )
