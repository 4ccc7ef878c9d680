"""The global concurrency limits that hold Bouncer's limits, and the arithmetic of their token buckets.

A limit with decay is a token bucket, not a window: the most that passes in any 60 s is ``limit + 60 * decay``.
The obvious setting for 200 a minute, a limit of 200 with a decay of 200/60, lets almost 400 pass.
"""

from dataclasses import dataclass

from bouncer.installation import LimitName, here

__all__ = ["REALTIME_PER_MINUTE", "UPLOADS_PER_MINUTE", "Limit", "limits_of", "token_bucket"]

UPLOADS_PER_MINUTE = 60
"""Bouncer's limit on batch creation: https://docs.usebouncer.com."""

REALTIME_PER_MINUTE = 1_000
"""Bouncer's limit on verifications in real time, beside that on all other calls: https://docs.usebouncer.com."""

_BURST_SHARE = 10
_UPLOAD_BURST_SHARE = 3
"""A third of the uploads may pass at once, so that fifteen free slots are filled in one go, not in ten seconds."""


@dataclass(frozen=True)
class Limit:
    """A global concurrency limit as it must stand on the Prefect server.

    Attributes:
        name: Its name.
        slots: How many may be held, or passed at once, at most.
        decay_per_second: How many come free each second; 0 for slots that are held and given back.
    """

    name: str
    slots: int
    decay_per_second: float = 0.0


def token_bucket(per_minute: int, burst_share: int = _BURST_SHARE) -> tuple[int, float]:
    """The largest token bucket that cannot let more than ``per_minute`` pass in any 60 seconds.

    Args:
        per_minute: The ceiling, at least 2.
        burst_share: One part in how many of the ceiling may pass at once.

    Returns:
        Slots and decay per second, with ``slots + 60 * decay == per_minute``. What may not pass at once flows.
    """
    slots = max(1, per_minute // burst_share)
    return slots, (per_minute - slots) / 60


def limits_of(account: str, *, batches: int, requests_per_minute: int) -> tuple[Limit, ...]:
    """The limits that an account needs.

    Args:
        account: The name of the account block.
        batches: The most batches in flight.
        requests_per_minute: The ceiling of all requests.

    Returns:
        One for slots, one for all requests about batches, one for uploads, one for requests in real time.
    """
    buckets: dict[LimitName, tuple[int, float]] = {
        "batches": (batches, 0),
        "api": token_bucket(requests_per_minute),
        "uploads": token_bucket(min(UPLOADS_PER_MINUTE, requests_per_minute), _UPLOAD_BURST_SHARE),
        "realtime": token_bucket(REALTIME_PER_MINUTE),
    }
    return tuple(Limit(here().limit(what, account), *bucket) for what, bucket in buckets.items())
