"""Times of the polls of a batch: few requests, and the download soon after completion."""

from sqlalchemy import Connection

from bouncer.batches.batches_in_flight import mean_seconds_an_address
from bouncer.storage.tables import Batch

__all__ = ["Pace", "seconds_an_address", "seconds_to_next_look_at_queue"]

_RECENT_BATCHES = 20
_SPARE_SECONDS = 0.5
_SPARE_SHARE = 0.1
_LONGEST_IN_QUEUE = 300.0
"""The longest time between two looks at a batch that is overdue in Bouncer's queue, in seconds."""

_EARLY_SHARE = 0.2
"""The share of the shortest wait after which a batch is looked at whose beginning makes room for more."""

_SECOND_SHARE = 1.5
"""The share of it after which such a batch is looked at again: as many looks as at any other."""

_SOON_SECONDS = 15.0
"""Seconds after which a batch that is still queued was not begun with at once."""

_RISE = 1.1
"""A speed so much greater than the one before is no accident of rounding."""


def seconds_an_address(connection: Connection, account: str) -> float | None:
    """Seconds for one address from upload to completion, on average over the account's recent batches.

    Returns:
        Seconds, or None where nothing was verified yet.
    """
    return mean_seconds_an_address(connection, account, Batch.uploaded_ts, _RECENT_BATCHES)


def seconds_to_next_look_at_queue(
    waited: float,
    turn: float,
    run: float,
    *,
    shortest: float,
    longest: float,
    may_begin_at_once: bool = False,
    early: bool = False,
) -> float:
    """Says how long to wait before the next look at a batch that is queued at Bouncer.

    One look soon after the upload tells whether Bouncer has begun at once, as with an account whose batches run side by
    side. After that half of the time to the expected end is let pass, so that a Bouncer twice as quick as expected is
    noticed too; but in the first seconds no more than has passed already, where Bouncer may begin at once: until it is
    seen to, nothing more is sent.

    Args:
        waited: Seconds since the upload was answered.
        turn: Seconds from the upload after which its turn is expected.
        run: Seconds that it is expected to run.
        shortest: The wait before the first look, in seconds.
        longest: The least of the others.
        may_begin_at_once: Whether Bouncer may begin with it whatever is ahead of it.
        early: Whether the first look is early, since others are not sent until Bouncer is seen to have begun.
    """
    if early and waited < _SECOND_SHARE * shortest:
        first = _EARLY_SHARE * shortest
        return first if waited < first else _SECOND_SHARE * shortest - waited
    if waited < shortest:
        return shortest
    left = turn + run - waited
    if left > 0:
        usual = max(longest, left / 2)
        return min(usual, waited) if may_begin_at_once and waited < _SOON_SECONDS else usual
    return max(longest, min(waited / 4, run / 2, _LONGEST_IN_QUEUE))


class Pace:
    """Pace of a batch at Bouncer, and the time of the next poll.

    The present speed predicts completion: that between the last polls that saw progress, since the average from the
    upload on has the time in Bouncer's queue in it. Before there is any, the speed of earlier batches does.

    Args:
        quantity: Addresses in the batch.
        expected: Seconds that earlier batches suggest for the whole, or None.
        processed: Addresses that an earlier run has seen verified.
        at: When it saw that, in seconds since the upload was answered.
    """

    def __init__(self, quantity: int, expected: float | None, *, processed: int = 0, at: float = 0.0) -> None:
        self._quantity = quantity
        self._expected = expected
        self._before = (0.0, 0)
        self._latest = (at, processed)
        self._earlier_speed: float | None = None
        self._began = at if processed == 0 else 0.0

    def expect(self, seconds: float) -> None:
        """Changes what earlier batches suggest for the whole."""
        self._expected = seconds

    def begin(self, elapsed: float) -> None:
        """Notes when Bouncer has begun with the batch, in seconds since the upload was answered."""
        if self._latest[1] == 0:
            self._latest = (elapsed, 0)
            self._began = elapsed

    def note(self, elapsed: float, processed: int) -> None:
        """Notes what a poll has seen.

        Args:
            elapsed: Seconds since the upload was answered.
            processed: Addresses verified so far.
        """
        at, seen = self._latest
        if processed > seen:
            self._earlier_speed = self._speed(at)
            self._before = self._latest
            self._latest = (elapsed, processed)
        elif seen == 0:
            self._latest = (elapsed, 0)
            self._began = elapsed

    def seconds_to_next_poll(self, elapsed: float, *, shortest: float, longest: float) -> float:
        """Returns the seconds to wait before the next status request.

        A poll is placed just after the predicted end where that is within reach. Where the end is a little beyond the
        longest wait, the way is halved, so that the last wait is not a needlessly long one; and so while the
        speed rises, since the end may come sooner still.

        Args:
            elapsed: Seconds since the upload was answered.
            shortest: The shortest wait allowed, in seconds.
            longest: The longest wait allowed once the end is near, in seconds.

        Returns:
            Seconds, at least ``shortest``.
        """
        speed = self._speed(elapsed)
        if speed is not None:
            remaining = (self._quantity - self._latest[1]) / speed
        elif self._expected is not None:
            remaining = self._expected - (elapsed - self._latest[0])
        else:
            return shortest
        # A look that comes a moment too early costs the shortest wait; on a busy machine answers are read late.
        # A speed from the upload on is too high by the time that the upload's answer took to be heard.
        caution = 1.02 if speed is None or self._before != (0.0, 0) else 1.05
        wait = remaining * caution + max(_SPARE_SECONDS, _SPARE_SHARE * shortest)
        rises = speed is not None and self._earlier_speed is not None and speed > _RISE * self._earlier_speed
        if rises or (wait > longest and remaining < longest + shortest):
            wait /= 2
        return min(max(wait, shortest), max(longest, 0.0 if rises else self._far(elapsed, remaining, speed)))

    def _far(self, elapsed: float, remaining: float, speed: float | None) -> float:
        # A third of the way to an end that is far, so that it may come three times as soon as it seems; but on a speed
        # that was seen for a minute only, no more than a minute is staked, unless earlier batches vouch for it.
        if speed is None:
            return remaining / 3
        return min(remaining / 3, max(elapsed - self._began, (self._expected or 0.0) / 5))

    def _speed(self, elapsed: float) -> float | None:
        # Until now, and not only until the latest progress, so that a batch that stands still is asked for seldom.
        since, before = self._before
        seen = self._latest[1]
        return (seen - before) / (elapsed - since) if seen > before and elapsed > since else None
