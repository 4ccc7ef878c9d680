"""Patience of a step with Bouncer: outages, and a service that has not caught up with itself yet."""

import logging

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_delay, wait_fixed

from bouncer.api.failures import PATIENCE_SECONDS, wait_as_told
from bouncer.errors import (
    BatchLost,
    BatchNotCompleted,
    BouncerUnavailable,
    DatabaseUnavailable,
    RateLimited,
)
from bouncer.stopping import is_stopping, sleep_unless_stopping

__all__ = ["AWAY", "through_outages", "until_known", "until_stored"]

_log = logging.getLogger(__name__)

AWAY = (BouncerUnavailable, RateLimited)
"""Failures that say nothing about the batch: it stays as it is, and the step is retried later."""


def through_outages(*, pause_seconds: float, limit_seconds: float) -> AsyncRetrying:
    """Tries again while Bouncer is away, at a pace that the circuit breaker sets, and after a 429 when it is told to.

    Args:
        pause_seconds: Between two tries, unless Bouncer tells.
        limit_seconds: After which the last failure is raised.
    """
    return AsyncRetrying(
        retry=retry_if_exception_type(AWAY),
        wait=lambda state: wait_as_told(state) if _is_limited(state) else pause_seconds,
        stop=stop_after_delay(limit_seconds),
        sleep=sleep_unless_stopping,
        before_sleep=_tell,
        reraise=True,
    )


def until_known(*, pause_seconds: float) -> AsyncRetrying:
    """Tries again for a moment while Bouncer does not know the batch, or does not hand out its results yet."""
    return AsyncRetrying(
        retry=retry_if_exception_type((BatchLost, BatchNotCompleted)),
        wait=wait_fixed(min(pause_seconds, PATIENCE_SECONDS / 4)),
        stop=stop_after_delay(PATIENCE_SECONDS),
        sleep=sleep_unless_stopping,
        before_sleep=_tell,
        reraise=True,
    )


def until_stored(what: str) -> AsyncRetrying:
    """Tries again for as long as the database is away and the process is not to stop, whatever else is given up.

    Args:
        what: What is in hand and must not be dropped, in words for a person.
    """

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        _log.warning("%s, which is not stored yet: %s", what, error)

    return AsyncRetrying(
        retry=retry_if_exception_type(DatabaseUnavailable),
        wait=wait_fixed(1),
        stop=lambda _state: is_stopping(),
        before_sleep=tell,
        reraise=True,
    )


def _is_limited(state: RetryCallState) -> bool:
    return state.outcome is not None and isinstance(state.outcome.exception(), RateLimited)


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    _log.warning("%s; asking again", error)
