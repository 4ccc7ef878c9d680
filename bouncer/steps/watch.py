"""Watch over a batch at Bouncer: how far it has come, since when, and when to look again."""

from collections.abc import Callable
from datetime import timedelta

from bouncer.batches.batches_in_flight import QueueAhead
from bouncer.batches.state import BatchState, BatchWork
from bouncer.steps.pacing import Pace, seconds_to_next_look_at_queue

__all__ = ["Watch"]


class Watch:
    """Watch over one batch.

    Args:
        batch: The batch, as its owner has taken it.
        ahead: What was sent before it.
        clock: Tells the time in seconds, from any moment on.
        makes_room: As the attribute says.

    Attributes:
        quantity: Addresses in it.
        processed: Those that were seen verified.
        finishing: Whether Bouncer was asked to finish it early.
        is_running: Whether Bouncer was seen to have begun with it.
        is_new: Whether it was only uploaded now.
        makes_room: Whether others can be sent once Bouncer is seen to have begun with it.
    """

    def __init__(
        self, batch: BatchWork, ahead: QueueAhead, clock: Callable[[], float], *, makes_room: bool = False
    ) -> None:
        self._now = clock
        now = clock()
        self.quantity = batch.quantity
        self.processed = min(batch.processed, batch.quantity)
        self.finishing = batch.finishing
        self.is_running = batch.state is BatchState.RUNNING_AT_BOUNCER
        self.is_new = batch.bouncer_id is None
        self.makes_room = makes_room
        self._began = now - batch.in_flight_seconds
        self._progressed = now - batch.idle_seconds
        self._looked = self.elapsed
        self._run_seconds = ahead.seconds_an_address * batch.quantity
        self._turn = self.elapsed + ahead.seconds
        self._may_begin_at_once = ahead.may_begin_at_once
        self._pace = Pace(
            batch.quantity,
            self._run_seconds,
            processed=self.processed,
            at=batch.in_flight_seconds - batch.idle_seconds,
        )

    def expect(self, ahead: QueueAhead) -> None:
        """Expects its turn anew, by what is ahead of it now and by the pace that was observed meanwhile."""
        self._run_seconds = ahead.seconds_an_address * self.quantity
        self._may_begin_at_once = ahead.may_begin_at_once
        self._pace.expect(self._run_seconds)
        # Where nothing of ours is ahead any more, its turn stays due since the moment at which it was.
        turn = self.elapsed + ahead.seconds
        if ahead.seconds > 0 or turn < self._turn:
            self._turn = turn

    @property
    def percent(self) -> int:
        """The share that is verified."""
        return 100 * self.processed // self.quantity

    @property
    def elapsed(self) -> float:
        """Seconds since the upload was answered."""
        return self._now() - self._began

    @property
    def idle(self) -> float:
        """Seconds since the last progress, or since Bouncer began with it."""
        return self._now() - self._progressed

    def note_running(self, waited: timedelta | None) -> None:
        """Notes that Bouncer has begun with it, after so long in its queue where Bouncer tells that."""
        if self.is_running:
            return
        self.is_running = True
        self._progressed = self._now()
        # By Bouncer's clock, if that makes sense by ours.
        since = self.elapsed if waited is None else min(max(0.0, waited.total_seconds()), self.elapsed)
        self._pace.begin(since)

    def note(self, processed: int) -> bool:
        """Notes how many addresses are verified, and tells whether that is progress."""
        self._pace.note(self.elapsed, processed)
        if processed <= self.processed:
            return False
        self.processed = min(processed, self.quantity)
        self._progressed = self._now()
        return True

    def begin_finishing(self) -> None:
        """Notes that Bouncer was asked to finish it early."""
        self.finishing = True
        self._progressed = self._now()

    def look(self) -> None:
        """Notes that Bouncer was asked for it just now."""
        self._looked = self.elapsed

    def rest(self, shortest: float, longest: float, *, soon: bool = False) -> float:
        """Says how long to wait until the next look, in seconds; ``soon`` where it is to be finished once it runs."""
        if self.finishing:
            # Bouncer ends it by itself: soon.
            wait = shortest
        elif self.is_running and self._looked < shortest:
            # The look came early: what was verified in the first seconds tells no pace, or a wrong one.
            wait = shortest
        elif self.is_running:
            wait = self._pace.seconds_to_next_poll(self._looked, shortest=shortest, longest=longest)
        elif soon:
            # It can be finished only once it runs, and the sooner the more credits come back. Half of the way, since
            # what is ahead of it may be through without anybody having seen that.
            wait = max(longest, (self._turn - self._looked) / 2)
        else:
            wait = seconds_to_next_look_at_queue(
                self._looked,
                self._turn,
                self._run_seconds,
                shortest=shortest,
                longest=longest,
                may_begin_at_once=self._may_begin_at_once,
                early=self.makes_room,
            )
        return max(0.0, self._looked + wait - self.elapsed)
