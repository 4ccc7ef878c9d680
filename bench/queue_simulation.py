"""An account's queue at Bouncer in simulated time: who sends when, who looks when, and when Bouncer has nothing to do.

The rules are the product's own: admission to Bouncer's queue, and the time of each look. Bouncer is the sandbox's line,
which runs batches one after another or side by side.
"""

import heapq
import itertools
import math
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta

from bouncer.batches.batches_in_flight import BatchAhead, Places, QueueAhead, Ran
from bouncer.batches.state import BatchState, BatchWork
from bouncer.steps.watch import Watch
from bouncer.storage.tables import Layer
from sandbox.service.line import Line, Turn

__all__ = ["Bouncer", "Course", "course_of"]

_POLL_SECONDS_MIN, _POLL_SECONDS_MAX = 10.0, 30.0
_UPLOAD_AND_DOWNLOAD = 2
_RECENT_BATCHES = 10
_NEXT_TRY_SECONDS = 1.0
_NO_TIME = 1e-6
"""So little that a sum of floats may not notice it."""


@dataclass(frozen=True)
class Bouncer:
    """Bouncer as an account finds it.

    Attributes:
        parallel: Batches that run side by side.
        seconds: What a batch takes once it runs.
        batch_size: Addresses in each.
        pick_up_seconds: What passes before Bouncer begins with a batch, even where nothing is ahead of it.
    """

    parallel: int = 1
    seconds: float = 360.0
    batch_size: int = 10_000
    pick_up_seconds: float = 0.0


@dataclass(frozen=True)
class Course:
    """Course of a simulated run.

    Attributes:
        seconds: From the first upload to the last completion that was noticed.
        idle_seconds: Time in which Bouncer could have run another batch, and batches waited here.
        requests: Requests a batch, upload and download included.
        late_seconds: From a completion to the look that found it, at most.
        waits: Of each batch, seconds from its upload to its turn.
        urgent_seconds: From the moment at which a more urgent batch is ready to its turn, at most: it takes the place
            of the next upload, and comes just after the one before at the worst.
    """

    seconds: float
    idle_seconds: float
    requests: float
    late_seconds: float
    waits: tuple[float, ...]
    urgent_seconds: float


@dataclass(eq=False)
class _Sent:
    turn: Turn
    watch: Watch
    running: bool = False


@dataclass
class _Account:
    places: Places
    bouncer: Bouncer
    now: float = 0.0
    line: Line = field(default_factory=Line)
    in_flight: list[_Sent] = field(default_factory=list)
    recent: deque[Ran] = field(default_factory=lambda: deque(maxlen=_RECENT_BATCHES))
    looks: list[tuple[float, int, _Sent]] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    requests: int = 0
    late: float = 0.0
    order: "itertools.count[int]" = field(default_factory=itertools.count)

    def ahead(self, before: _Sent | None = None) -> QueueAhead:
        return QueueAhead.of(
            [
                BatchAhead(
                    sent.watch.quantity,
                    sent.watch.processed,
                    self.now - (sent.turn.started or self.now) if sent.running else None,
                )
                for sent in itertools.takewhile(lambda sent: sent is not before, self.in_flight)
            ],
            self.recent,
        )

    def send(self) -> float:
        """Sends a batch if it may, and says in how many seconds the next may be sent at the earliest."""
        ahead = self.ahead()
        if not ahead.admits(self.places):
            # Until somebody looks, nothing changes but what is left of what runs.
            is_full = ahead.in_flight >= self.places.most
            return math.inf if is_full else max(_NEXT_TRY_SECONDS, ahead.seconds - self.places.queue_seconds)
        turn = Turn(created=self.now, ready=self.now + self.bouncer.pick_up_seconds, work=self.bouncer.seconds)
        self.line.join(turn)
        self.turns.append(turn)
        makes_room = ahead.holds_back_unknown(self.places)
        sent = _Sent(turn, Watch(_new_batch(self.bouncer.batch_size), ahead, lambda: self.now, makes_room=makes_room))
        self.in_flight.append(sent)
        self.requests += _UPLOAD_AND_DOWNLOAD
        self.look_later(sent)
        return 0.0

    def look_later(self, sent: _Sent) -> None:
        rest = sent.watch.rest(_POLL_SECONDS_MIN, _POLL_SECONDS_MAX)
        sleep = rest if sent.running else min(rest, _POLL_SECONDS_MAX)
        heapq.heappush(self.looks, (self.now + sleep, next(self.order), sent))

    def look(self) -> None:
        _, _, sent = heapq.heappop(self.looks)
        turn = sent.turn
        if not sent.running:
            sent.watch.expect(self.ahead(before=sent))
            if sent.watch.rest(_POLL_SECONDS_MIN, _POLL_SECONDS_MAX) > _NO_TIME:
                self.look_later(sent)
                return
        sent.watch.look()
        self.requests += 1
        if self.now >= turn.ends:
            self.late = max(self.late, self.now - turn.ends)
            self.recent.append(Ran(turn.started or 0.0, turn.ends, sent.watch.quantity))
            self.in_flight.remove(sent)
            return
        if turn.started is not None:
            sent.running = True
            sent.watch.note_running(timedelta(seconds=turn.started - turn.created))
            sent.watch.note(int(sent.watch.quantity * (self.now - turn.started) / turn.work))
        self.look_later(sent)


def course_of(batches: int, places: Places, bouncer: Bouncer, outage: tuple[float, float] = (0.0, 0.0)) -> Course:
    """Runs batches through an account's places at Bouncer.

    Args:
        batches: How many there are, all ready from the beginning.
        places: The places that the account may take.
        bouncer: How Bouncer serves it.
        outage: From when, and until when, nothing here runs.
    """
    account = _Account(places, bouncer)
    tries = 0.0
    while len(account.turns) < batches or account.in_flight:
        account.now = max(account.now, min(tries, account.looks[0][0] if account.looks else math.inf))
        if outage[0] <= account.now < outage[1]:
            account.now = outage[1]
        account.line.advance(account.now, bouncer.parallel)
        while account.looks and account.looks[0][0] <= account.now:
            account.look()
            tries = account.now
        while tries <= account.now and len(account.turns) < batches:
            tries = account.now + account.send()
        if len(account.turns) == batches:
            tries = math.inf
        account.line.advance(account.now, bouncer.parallel)
    return Course(
        seconds=account.now,
        idle_seconds=_idle(account.turns, bouncer.parallel),
        requests=account.requests / batches,
        late_seconds=account.late,
        waits=tuple((turn.started or turn.created) - turn.created for turn in account.turns),
        urgent_seconds=max(
            (turn.started or 0.0) - before.created for before, turn in itertools.pairwise(account.turns)
        ),
    )


def _idle(turns: list[Turn], parallel: int) -> float:
    # Up to the beginning of the last turn, since after that nothing is left to run.
    last = max(turn.started or 0.0 for turn in turns)
    busy = sum(min(turn.ends, last) - min(turn.started or 0.0, last) for turn in turns)
    return parallel * last - busy


def _new_batch(quantity: int) -> BatchWork:
    return BatchWork(
        id=0,
        owner="",
        bouncer_id=None,
        account="default",
        user_id=0,
        request_id=0,
        priority=0,
        quantity=quantity,
        processed=0,
        state=BatchState.UPLOADING,
        in_flight_seconds=0.0,
        idle_seconds=0.0,
        ambiguous_uploads=0,
        stale_lease=None,
        finishing=False,
        split_from=None,
        layer=Layer.BASIC,
        realtime=False,
        unanswered=0,
    )
