"""Bouncer's rate limits, held over all processes by global concurrency limits of the Prefect server."""

import asyncio
import logging
from collections import defaultdict
from weakref import WeakKeyDictionary

import httpx
from prefect.client.orchestration import PrefectClient
from tenacity import AsyncRetrying, before_sleep_log, retry_if_exception_type, stop_after_delay, wait_random_exponential

from bouncer.accounts.call_statistics import Call
from bouncer.errors import LimitsMissing, OrchestratorUnavailable
from bouncer.stopping import cut_after_stop, refuse_while_stopping, sleep_unless_stopping

__all__ = ["PrefectLimiter", "through_server_outages"]

_log = logging.getLogger(__name__)

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, defaultdict[str, asyncio.Lock]] = WeakKeyDictionary()

_ABOUT_THE_LIMIT = {httpx.codes.NOT_FOUND, httpx.codes.UNPROCESSABLE_ENTITY}
"""422 is the answer where the limit has no decay."""

OUTAGE_SECONDS = 120.0
"""Seconds that a request waits for a Prefect server that is restarting."""


class PrefectLimiter:
    """Takes one token of the requests' bucket for each call, and one of the uploads' bucket for each upload.

    Args:
        server: A client of the Prefect server, open for as long as tokens are taken.
        api: The name of the limit on all requests.
        uploads: The name of the limit on uploads.
        realtime: The name of the limit on verifications in real time, which count against no other.
    """

    def __init__(self, server: PrefectClient, api: str, uploads: str, realtime: str) -> None:
        self._server = server
        self._of_call = {Call.CREATE: (uploads, api), Call.VERIFY: (realtime,)}
        self._of_others = (api,)

    async def acquire(self, call: Call) -> None:
        """Waits for the tokens that the call needs.

        Raises:
            LimitsMissing: A limit does not exist, so nothing holds the rate.
            OrchestratorUnavailable: The Prefect server did not come back within OUTAGE_SECONDS.
            Stopped: The process was asked to stop.
        """
        retrying = through_server_outages()
        # One after the other: asked for both at once, Prefect passes silently when only one of them exists.
        for name in self._of_call.get(call, self._of_others):
            await retrying(_take, self._server, name)


def through_server_outages() -> AsyncRetrying:
    """Tries again while the Prefect server is away, for OUTAGE_SECONDS."""
    return AsyncRetrying(
        retry=retry_if_exception_type(OrchestratorUnavailable),
        wait=wait_random_exponential(multiplier=0.5, max=5),
        stop=stop_after_delay(OUTAGE_SECONDS),
        sleep=sleep_unless_stopping,
        before_sleep=before_sleep_log(_log, logging.WARNING),
        reraise=True,
    )


async def _take(server: PrefectClient, name: str) -> None:
    try:
        async with cut_after_stop(0), _turns_of(asyncio.get_running_loop())[name]:
            await _take_token(server, name)
    except TimeoutError:
        refuse_while_stopping()
        raise
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status in _ABOUT_THE_LIMIT:
            raise LimitsMissing(_missing(name)) from None
        raise OrchestratorUnavailable(
            f"the Prefect server answers {status}; look at it, and at PREFECT_API_KEY or PREFECT_API_AUTH_STRING"
        ) from None
    except (httpx.HTTPError, OSError):
        raise OrchestratorUnavailable("the Prefect server cannot be reached; is it running?") from None


async def _take_token(server: PrefectClient, name: str) -> None:
    # Prefect's own rate_limit does the same, with a thread and a client for each limit, and an event for each token.
    while True:
        try:
            found = await server.increment_concurrency_slots([name], 1, "rate_limit")
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.LOCKED:
                raise
            await asyncio.sleep(float(error.response.headers["Retry-After"]))
        else:
            if not found.json():
                raise LimitsMissing(_missing(name))
            return


def _turns_of(loop: asyncio.AbstractEventLoop) -> defaultdict[str, asyncio.Lock]:
    # Each refusal makes the server's next answer longer, so of all that wait here one asks.
    return _turns.setdefault(loop, defaultdict(asyncio.Lock))


def _missing(name: str) -> str:
    return f"limit {name} is missing or wrong; run bouncer-flows setup"
