"""The error policy, in one place: what each failure of a call to Bouncer means, and how often it is retried.

Statuses as in https://docs.usebouncer.com; where the documentation is silent, the reading that cannot lose or
double a payment was taken.
"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from tenacity import RetryCallState, wait_exponential, wait_random

from bouncer.accounts.call_statistics import Call
from bouncer.errors import (
    AddressesRefused,
    BatchLost,
    BatchNotCompleted,
    BouncerFlowsError,
    BouncerUnavailable,
    DownloadTruncated,
    FinishRefused,
    KeyRefused,
    OutOfCredits,
    RateLimited,
    UnexpectedAnswer,
    UploadOutcomeUnknown,
)
from bouncer.safe_text import clean_message

__all__ = [
    "ATTEMPTS",
    "CERTAINLY_REFUSED",
    "PAID",
    "PATIENCE_SECONDS",
    "RATE_LIMITED_SECONDS",
    "TOLD_OF_429",
    "WORTH_ANOTHER_ATTEMPT",
    "between_attempts",
    "error_of_answer",
    "error_of_transport",
    "until_told",
    "wait_as_told",
]

ATTEMPTS = 3
"""Attempts at a call that fails for now before the circuit breaker counts a failure."""

RATE_LIMITED_SECONDS = 900.0
"""Seconds that one call sits out answers of 429, which cost no attempt, before it gives up for now."""

RETRY_AFTER_CAP_SECONDS = 120.0
"""The longest wait that a Retry-After header can ask for."""

WINDOW_SECONDS = 60.0
"""Bouncer counts requests in windows of a minute; after it, one that was refused with 429 may pass."""

PATIENCE_SECONDS = 60.0
"""Seconds for which Bouncer may not know a batch, or not hand out its results, before the batch counts as lost."""

WORTH_ANOTHER_ATTEMPT = (BouncerUnavailable, DownloadTruncated)
"""Failures that may pass by themselves within seconds. An upload of unknown outcome is not among them: sending it
again may be paid twice, so AMBIGUOUS_UPLOAD decides."""

CERTAINLY_REFUSED = (RateLimited, OutOfCredits, KeyRefused, AddressesRefused, BouncerUnavailable)
"""Failures of an upload after which Bouncer certainly does not have it. Any other leaves that open."""

between_attempts = wait_exponential(multiplier=2, max=30) + wait_random(0, 1)
"""Exponential from 2 s, with jitter, so that workers that failed together do not come back together."""

# Not float: it reads a sign, an exponent, "inf", and digits of other scripts.
_SECONDS = re.compile(r"\d+(\.\d+)?", re.ASCII)
_LONGEST_RETRY_AFTER = 100
_NEVER_CONNECTED = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


PAID = frozenset({Call.CREATE, Call.VERIFY})
"""The calls that cost money: whether one whose answer was lost did, nobody can say."""

TOLD_OF_429 = frozenset({Call.DOWNLOAD, Call.VERIFY})
"""The calls that do not sit a 429 out themselves. Their caller holds a loading lane, or verdicts beside it that are not
stored yet, and lets go of these before it waits as Bouncer asks."""


_NAMED = {Call.CREATE: "an upload", Call.VERIFY: "a verification in real time"}


def until_told(header: str | None, now: datetime) -> float | None:
    """Reads a Retry-After header.

    Args:
        header: Seconds, or an HTTP date (RFC 9110, section 10.2.3), or None.
        now: The present moment, with its time zone.

    Returns:
        Seconds to wait, from 0 to RETRY_AFTER_CAP_SECONDS, or None where the header says nothing usable.
    """
    if header is None or len(header) > _LONGEST_RETRY_AFTER:
        return None
    if _SECONDS.fullmatch(header.strip()):
        return min(float(header), RETRY_AFTER_CAP_SECONDS)
    try:
        moment = parsedate_to_datetime(header)
        seconds = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
    except (ValueError, OverflowError):
        return None
    # A clock that goes wrong says nothing of how long to wait; no wait at all would be a request every half second.
    return min(seconds, RETRY_AFTER_CAP_SECONDS) if seconds > 0 else None


def wait_as_told(state: RetryCallState) -> float:
    """Seconds to wait after a 429: Bouncer's own figure, else until its window has passed."""
    error = state.outcome.exception() if state.outcome else None
    told = error.retry_after if isinstance(error, RateLimited) else None
    return WINDOW_SECONDS if told is None else max(told, 0.5)


def error_of_transport(call: Call, error: Exception) -> BouncerFlowsError:
    """Returns the error that a broken connection means.

    A connection that was never made certainly carried nothing. Any later break of an upload leaves it unknown
    whether Bouncer has the batch.
    """
    name = type(error).__name__
    if isinstance(error, _NEVER_CONNECTED):
        return BouncerUnavailable(f"Bouncer cannot be reached ({name}); check BOUNCER_API_BASE_URL and the network")
    if call in PAID:
        return UploadOutcomeUnknown(f"the answer to {_NAMED[call]} was lost ({name})")
    if call is Call.DOWNLOAD:
        return DownloadTruncated(f"a download broke off ({name})")
    return BouncerUnavailable(f"Bouncer did not answer ({name})")


def error_of_answer(  # noqa: PLR0911  # a table of answers: one return a row
    call: Call, status: int, message: str, retry_after: float | None
) -> BouncerFlowsError:
    """Returns the error that a refusal means.

    Args:
        call: The call that was answered.
        status: The HTTP status; of an answer with 2xx that is an error, the one that its body tells, or 0 for none.
        message: Bouncer's own words; they are cleaned here.
        retry_after: Seconds to wait as Bouncer asks, or None.

    Returns:
        The error to raise.
    """
    said = f"Bouncer answered {status} to {call}: {clean_message(message) or 'no message'}"
    match status:
        case 429:
            return RateLimited(retry_after)
        case 402 if call in PAID:
            # To a status check or a download it says nothing of the batch, which is paid for.
            return OutOfCredits(said)
        case 401 | 403:
            return KeyRefused(f"{said}; enter the right key in block bouncer-account, or set BOUNCER_API_KEY")
        case 503:
            return BouncerUnavailable(said)
        case _ if status >= 500:
            # A gateway that gave up waiting (502, 504) may have passed the upload on.
            return UploadOutcomeUnknown(said) if call in PAID else BouncerUnavailable(said)
        case 400 | 413 | 422 if call in PAID:
            return AddressesRefused(said)
        case 404 | 410 if call not in PAID and call is not Call.CREDITS:
            return BatchLost(said)
        case 400 | 405 | 409 if call is Call.FINISH:
            return BatchLost(said) if "removed" in message.lower() else FinishRefused(said)
        case 400 | 405 | 409 if call in {Call.STATUS, Call.DOWNLOAD, Call.DELETE}:
            return BatchLost(said) if "removed" in message.lower() else BatchNotCompleted(said)
        case _:
            return UnexpectedAnswer(said)
