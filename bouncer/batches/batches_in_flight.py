"""Capacity of an account: the batches that it may have ready, and those that may wait in Bouncer's own queue.

Bouncer processes an account's batches one after another, or side by side, and does not say which: both are observed.
What is queued there keeps whoever comes later waiting, however urgent, so no more is sent than keeps Bouncer busy.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import islice

from sqlalchemy import (
    CompoundSelect,
    Connection,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    not_,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased

from bouncer.batches.ownership import has_no_owner
from bouncer.batches.state import AWAITS_UPLOAD, IN_FLIGHT, UNSETTLED, BatchState, BatchWork, is_in, state_of
from bouncer.storage.dialects import age_seconds
from bouncer.storage.tables import Batch
from bouncer.storage.transactions import reading

__all__ = [
    "SLOWEST_SECONDS_AN_ADDRESS",
    "BatchAhead",
    "Places",
    "QueueAhead",
    "Ran",
    "batches_ahead",
    "mean_seconds_an_address",
    "more_urgent_is_ready",
    "queue_ahead",
    "room_for",
    "rooms_for",
]

SLOWEST_SECONDS_AN_ADDRESS = 0.036
"""Bouncer verifies 100,000 to 200,000 addresses an hour of an account: https://docs.usebouncer.com."""

_AHEAD_SHARE = 3
_MOST_AHEAD = 5
_RECENT_BATCHES = 10
_MOST_TOGETHER = 100
"""SQLite takes 500 parts of a union: https://www.sqlite.org/limits.html."""

_OVERLAP_SECONDS = 2.0
"""Batches that ran at the same time for longer ran side by side; moments are in seconds, by two clocks."""


@dataclass(frozen=True)
class Places:
    """The places that an account has at Bouncer.

    Attributes:
        most: The most batches in flight.
        queue_seconds: How long a new upload may have to wait in Bouncer's queue; 0 for as long as it takes.
        batch_size: The most addresses in a batch.
    """

    most: int
    queue_seconds: float = 0.0
    batch_size: int = 10_000


@dataclass(frozen=True)
class BatchAhead:
    """A batch that was sent before.

    Attributes:
        quantity: Addresses in it.
        processed: Those that were seen verified.
        running_seconds: Since Bouncer has begun with it; None while it is queued there, as far as is known.
    """

    quantity: int
    processed: int = 0
    running_seconds: float | None = None

    def seconds_left(self, pace: float) -> float:
        """Estimates how long Bouncer still takes for it at so many seconds an address."""
        if self.running_seconds is None:
            return self.quantity * pace
        # Between two looks nobody counts, but time tells how far it should be.
        return max(0.0, min((self.quantity - self.processed) * pace, self.quantity * pace - self.running_seconds))


@dataclass(frozen=True)
class Ran:
    """A batch that Bouncer has run.

    Attributes:
        began: When Bouncer began with it, in seconds from any moment on.
        ended: When it was verified.
        quantity: Addresses in it.
    """

    began: float
    ended: float
    quantity: int


@dataclass(frozen=True)
class QueueAhead:
    """The batches that a new upload of an account would find ahead of it at Bouncer.

    Attributes:
        in_flight: Batches of the account there, or on their way.
        queued: Those of them that Bouncer has not been seen to begin with.
        seconds: How long it would wait for its turn, by the pace that was observed.
        seconds_an_address: That pace.
        side_by_side: How many batches Bouncer was seen to run at the same time.
        may_begin_at_once: Whether Bouncer may begin with it all the same: batches were seen to run side by side, or
            nothing was seen yet.
        is_unknown: Whether no batch of the account was seen to its end yet, by which its pace would be known.
    """

    in_flight: int
    queued: int
    seconds: float
    seconds_an_address: float
    side_by_side: int = 1
    may_begin_at_once: bool = False
    is_unknown: bool = False

    @classmethod
    def of(cls, batches: Collection[BatchAhead], recent: Collection[Ran]) -> "QueueAhead":
        """Sums up the batches that were sent before, by how the account's recent ones ran.

        What runs now tells too little of how many run side by side: a batch that was done before anybody looked was
        never seen to run, and an account whose batches are quick would be taken for one that has them one by one.
        """
        pace = _pace_of(recent)
        seconds_an_address = SLOWEST_SECONDS_AN_ADDRESS if pace is None else pace
        left = [batch.seconds_left(seconds_an_address) for batch in batches]
        running = [seconds for batch, seconds in zip(batches, left, strict=True) if batch.running_seconds is not None]
        # One that should be done by now may have made room for the next, without having been looked at since.
        side_by_side = max(1, _most_side_by_side(recent), sum(seconds > 0 for seconds in running))
        return cls(
            in_flight=len(batches),
            queued=len(batches) - len(running),
            seconds=sum(left) / side_by_side,
            seconds_an_address=seconds_an_address,
            side_by_side=side_by_side,
            may_begin_at_once=side_by_side > 1 or pace is None,
            is_unknown=pace is None,
        )

    def admits(self, places: Places, more: int = 0) -> bool:
        """Tells whether one more upload may be queued behind these, and behind so many more full batches.

        One batch is always queued, so that Bouncer never idles.
        """
        if self.in_flight + more >= places.most:
            return False
        wait = self.seconds + more * places.batch_size * self.seconds_an_address / self.side_by_side
        return places.queue_seconds <= 0 or self.queued + more == 0 or wait <= places.queue_seconds

    def holds_back_unknown(self, places: Places) -> bool:
        """Tells whether places stay empty only because it is not known yet how the account's batches run."""
        return self.is_unknown and self.usable(places) < places.most

    def usable(self, places: Places) -> int:
        """Counts the places at Bouncer that are of use now: those that are taken, and those that an upload may take."""
        more = 0
        while self.admits(places, more):
            more += 1
        return self.in_flight + more


def mean_seconds_an_address(
    connection: Connection, account: str, since: InstrumentedAttribute[datetime | None], batches: int
) -> float | None:
    """Measures what an address took until its batch was verified, on average over the account's latest batches.

    Args:
        connection: In a transaction.
        account: The account.
        since: The column of the moment that it counts from; batches of the plan's own tables may lack it.
        batches: How many batches at most.

    Returns:
        Seconds, or None where no batch tells.
    """
    recent = _recent(since).subquery()
    query = select(func.sum(recent.c.began - recent.c.ended), func.sum(recent.c.quantity))
    seconds, quantity = connection.execute(query, {"account": account, "batches": batches}).one()
    return float(seconds) / float(quantity) if quantity else None


def _recent_runs(connection: Connection, accounts: Collection[str]) -> dict[str, list[Ran]]:
    runs: dict[str, list[Ran]] = defaultdict(list)
    names = iter(accounts)
    while some := list(islice(names, _MOST_TOGETHER)):
        named = {f"account_{number}": account for number, account in enumerate(some)}
        for row in connection.execute(_recent_of_each(len(some)), {**named, "batches": _RECENT_BATCHES}):
            runs[row.account].append(Ran(-float(row.began), -float(row.ended), row.quantity))
    return runs


@cache
def _recent_of_each(accounts: int) -> CompoundSelect[str, float, float, int]:
    # Each has its own limit, and so its own few rows of the index, however many batches it has had.
    each = [_recent(Batch.running_ts, f"account_{number}").subquery().select() for number in range(accounts)]
    return union_all(*each)


def _pace_of(recent: Collection[Ran]) -> float | None:
    quantity = sum(ran.quantity for ran in recent)
    return max(0.0, sum(ran.ended - ran.began for ran in recent) / quantity) if quantity else None


def _most_side_by_side(recent: Collection[Ran]) -> int:
    return max(
        (sum(ran.began <= other.began < ran.ended - _OVERLAP_SECONDS for ran in recent) for other in recent), default=1
    )


@cache
def _recent(since: InstrumentedAttribute[datetime | None], account: str = "account") -> Select[str, float, float, int]:
    began, ended = age_seconds(since), age_seconds(Batch.verified_ts)
    return (
        select(Batch.account, began.label("began"), ended.label("ended"), Batch.quantity)
        .where(
            Batch.account == bindparam(account),
            is_in(BatchState.COMPLETED),
            since.is_not(None),
            Batch.verified_ts.is_not(None),
            Batch.finish_requested_ts.is_(None),
        )
        .order_by(Batch.id.desc())
        .limit(bindparam("batches"))
    )


@reading
def queue_ahead(connection: Connection, account: str, *, besides: int | None = None) -> QueueAhead:
    """Looks at what is ahead of a new upload; what others have sent with the same key is not to be seen.

    Args:
        connection: In a transaction.
        account: The account.
        besides: The batch that is ahead of nobody here: the one that is to be sent, or one that was sent; then only
            those count that were sent before it.
    """
    return _queues_ahead(connection, [account], besides)[account]


def _queues_ahead(
    connection: Connection, accounts: Collection[str], besides: int | None = None
) -> dict[str, QueueAhead]:
    ahead: dict[str, list[BatchAhead]] = defaultdict(list)
    rows = connection.execute(_ahead(is_any=besides is None), {"accounts": list(accounts), "besides": besides or 0})
    for row in rows:
        is_running = row.state == BatchState.RUNNING_AT_BOUNCER
        running_seconds = float(row.running_seconds) if is_running else None
        ahead[row.account].append(BatchAhead(row.quantity, row.processed, running_seconds))
    recent = _recent_runs(connection, accounts)
    return {account: QueueAhead.of(ahead[account], recent[account]) for account in accounts}


@cache
def _ahead(*, is_any: bool) -> Select[str, str, int, int, float | None]:
    running_seconds = age_seconds(Batch.running_ts).label("running_seconds")
    at_bouncer = select(Batch.account, state_of(), Batch.quantity, Batch.processed, running_seconds).where(
        Batch.account.in_(bindparam("accounts", expanding=True)), is_in(*IN_FLIGHT)
    )
    if is_any:
        return at_bouncer
    this = aliased(Batch)
    its = select(this.uploaded_ts).where(this.id == bindparam("besides")).scalar_subquery()
    # Moments are in seconds: of two in one second, one must be ahead of the other, and not each.
    before = or_(Batch.uploaded_ts < its, and_(Batch.uploaded_ts == its, Batch.id < bindparam("besides")))
    return at_bouncer.where(Batch.id != bindparam("besides"), or_(its.is_(None), before))


def more_urgent_is_ready(connection: Connection, batch: BatchWork) -> bool:
    """Tells whether a living run holds a more urgent batch of the account that waits for its upload too."""
    return bool(connection.scalar(_more_urgent(), {"account": batch.account, "priority": batch.priority}))


@cache
def _more_urgent() -> Select[bool]:
    return select(
        exists().where(
            Batch.account == bindparam("account"),
            Batch.priority > bindparam("priority"),
            is_in(*AWAITS_UPLOAD),
            Batch.realtime.is_(False),
            not_(has_no_owner()),
        )
    )


def batches_ahead(slots: int) -> int:
    """Says how many batches are made beyond the slots, so that a freed slot finds the next one ready.

    More would take what is queued later, and may be more urgent, longer to get its turn.

    Args:
        slots: The most batches in flight.
    """
    return max(1, slots // _AHEAD_SHARE)


def room_for(connection: Connection, account: str, places: Places, priority: int | None) -> int:
    """Says how many more batches of an account may be made for contacts of a priority.

    As many are under way, wherever they are, as there are usable places at Bouncer and a third more, so that a free
    place finds the next batch ready. Contacts also have room for up to five ready batches of their own, counted among
    the equally and the more urgent ones, which overtake whatever else is ready. So a queue without end becomes no more
    batches than that, and urgent contacts do not wait for the ready batches of others.

    Args:
        connection: In a transaction; only in one that holds the lock of claims is the answer more than a hint.
        account: The account that the batches are sent with.
        places: What it may have at Bouncer.
        priority: How urgent the contacts are, or None where none waits.
    """
    return rooms_for(connection, {account: places}, priority)[account]


def rooms_for(connection: Connection, places: Mapping[str, Places], priority: int | None) -> dict[str, int]:
    """Says how many more batches each of some accounts may be made for; like ``room_for``.

    Args:
        connection: In a transaction.
        places: What each may have at Bouncer.
        priority: How urgent the contacts are, or None where none waits.
    """
    rows = connection.execute(_counts(), {"accounts": list(places), "priority": priority or 0})
    counts = {account: (int(under_way), int(ready)) for account, under_way, ready in rows}
    # Where nothing may be queued for less than all, it need not be known what is.
    limited = [account for account, its in places.items() if its.queue_seconds > 0]
    ahead = _queues_ahead(connection, limited) if limited else {}
    usable = {account: ahead[account].usable(its) if account in ahead else its.most for account, its in places.items()}
    return {account: _room(usable[account], priority, *counts.get(account, (0, 0))) for account in places}


@cache
def _counts() -> Select[str, int, int]:
    is_ready = and_(Batch.priority >= bindparam("priority"), is_in(*AWAITS_UPLOAD), Batch.realtime.is_(False))
    return (
        select(Batch.account, func.count(), func.sum(case((is_ready, 1), else_=0)))
        # Held ones wait for a person.
        .where(Batch.account.in_(bindparam("accounts", expanding=True)), is_in(*(UNSETTLED - {BatchState.HELD})))
        .group_by(Batch.account)
    )


def _room(slots: int, priority: int | None, under_way: int, ready: int) -> int:
    ahead = batches_ahead(slots)
    room = slots + ahead - under_way
    return room if priority is None else max(room, min(ahead, _MOST_AHEAD) - ready)
