"""Statistics of the calls to Bouncer over all workers: by minute, outcome and duration in ``Bouncer_Calls``.

Only figures for people come of these rows; those whose ``window_start_ts`` is old can be deleted at any time.
"""

import enum
import re
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import Connection, case, func, select
from sqlalchemy.sql.dml import Insert

from bouncer.storage.dialects import database_now, is_sqlite, upsert
from bouncer.storage.tables import CallCount
from bouncer.storage.transactions import reading

__all__ = [
    "ANSWERED",
    "BOUNDS_MS",
    "CUT_SHORT",
    "EXPECTED",
    "Call",
    "CallFigures",
    "CallNote",
    "CallTally",
    "count_calls",
    "figures_of",
    "outcome_of",
    "store_notes",
]

ANSWERED = "answered"
"""The outcome of a call that brought what was asked for."""

CUT_SHORT = "cut short"
"""The outcome of a call that got no answer while its caller would wait."""

EXPECTED = frozenset({ANSWERED, "batch not completed", "finish refused"})
"""Outcomes that are no errors: Bouncer may hand results out a moment after a batch reads completed, and finishes only
what runs."""

BOUNDS_MS = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 1_000_000)
"""The upper bounds of the duration's classes; the last one is longer than any call may take."""

_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")


class Call(enum.StrEnum):
    """The calls of Bouncer's API, by the name that metrics and limits use."""

    CREATE = "create"
    STATUS = "status"
    DOWNLOAD = "download"
    FINISH = "finish"
    CREDITS = "credits"
    VERIFY = "verify"
    DELETE = "delete"


@dataclass(frozen=True)
class CallNote:
    """One request that was sent, as its process keeps it until the next transaction.

    Attributes:
        seconds: From the first byte sent to the last one read; waiting for the limits is not in it.
        noted: When it was over, by the process's own clock (``time.monotonic``).
    """

    call: Call
    outcome: str
    seconds: float
    noted: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class CallTally:
    """Requests of one call and outcome whose durations are of one class.

    Attributes:
        up_to_ms: The class: the duration was at most this, and more than the next lower of BOUNDS_MS.
        slowest_ms: The longest of them.
    """

    call: str
    outcome: str
    up_to_ms: int
    count: int
    slowest_ms: int


@dataclass(frozen=True)
class CallFigures:
    """Figures of a set of requests.

    Attributes:
        total: All requests that were sent.
        errors: Those that brought an error, by its kind.
        p50_ms: The median of their durations; None where there are none.
        p95_ms: The 95th percentile of their durations; None where there are none.
        max_ms: The duration of the slowest; None where there are none.
    """

    total: int
    errors: dict[str, int]
    p50_ms: int | None
    p95_ms: int | None
    max_ms: int | None

    @property
    def error_share(self) -> float:
        """Errors among all requests, from 0 to 1."""
        return sum(self.errors.values()) / self.total if self.total else 0.0

    @property
    def worst(self) -> str:
        """The three first kinds of error with their counts, behind a colon; empty where there was none."""
        return ": " * bool(self.errors) + ", ".join(f"{count} {kind}" for kind, count in list(self.errors.items())[:3])


def outcome_of(error: BaseException) -> str:
    """The outcome that an error stands for, in words: RateLimited is ``rate limited``."""
    return _WORDS.sub(" ", type(error).__name__).lower()


def store_notes(connection: Connection, account: str, notes: Iterable[CallNote]) -> None:
    """Counts requests, each in the minute in which it was over, by the database's clock."""
    now, here = database_now(connection), time.monotonic()
    counts: Counter[tuple[datetime, str, str, int]] = Counter()
    slowest: dict[tuple[datetime, str, str, int], int] = {}
    for note in notes:
        minute = (now - timedelta(seconds=here - note.noted)).replace(second=0, microsecond=0)
        took = min(round(note.seconds * 1000), BOUNDS_MS[-1])
        key = (minute, str(note.call), note.outcome[:50], BOUNDS_MS[bisect_left(BOUNDS_MS, took)])
        counts[key] += 1
        slowest[key] = max(slowest.get(key, 0), took)
    # In order, so that two transactions cannot wait for each other.
    for key in sorted(counts):
        minute, call, outcome, up_to = key
        row = {"window_start_ts": minute, "account": account, "call": call, "outcome": outcome, "up_to_ms": up_to}
        connection.execute(
            _counting(lite=is_sqlite(connection)), {**row, "count": counts[key], "slowest_ms": slowest[key]}
        )


@cache
def _counting(*, lite: bool) -> Insert:
    return upsert(
        CallCount,
        lite=lite,
        key=["window_start_ts", "account", "call", "outcome", "up_to_ms"],
        then=lambda new: {
            "count": CallCount.count + new.count,
            "slowest_ms": case((new.slowest_ms > CallCount.slowest_ms, new.slowest_ms), else_=CallCount.slowest_ms),
        },
    )


@reading
def count_calls(connection: Connection, account: str, minutes: int) -> list[CallTally]:
    """Reads the requests of the last so many minutes; the present one is on top of them."""
    since = database_now(connection).replace(second=0, microsecond=0) - timedelta(minutes=minutes)
    rows = connection.execute(
        select(
            CallCount.call,
            CallCount.outcome,
            CallCount.up_to_ms,
            func.sum(CallCount.count),
            func.max(CallCount.slowest_ms),
        )
        .where(CallCount.window_start_ts >= since, CallCount.account == account)
        .group_by(CallCount.call, CallCount.outcome, CallCount.up_to_ms)
    )
    return [CallTally(call, outcome, up_to_ms, int(count), slowest) for call, outcome, up_to_ms, count, slowest in rows]


def figures_of(tallies: Iterable[CallTally], call: str | None = None) -> CallFigures:
    """Sums requests up.

    Args:
        tallies: As ``count_calls`` reads them.
        call: Only this call, or None for all.
    """
    of_call = sorted((one for one in tallies if call in {None, one.call}), key=lambda one: one.up_to_ms)
    errors: Counter[str] = Counter()
    for one in of_call:
        if one.outcome not in EXPECTED:
            errors[one.outcome] += one.count
    return CallFigures(
        total=sum(one.count for one in of_call),
        errors=dict(errors.most_common()),
        p50_ms=_quantile(of_call, 0.50),
        p95_ms=_quantile(of_call, 0.95),
        max_ms=max((one.slowest_ms for one in of_call), default=None),
    )


def _quantile(tallies: Sequence[CallTally], share: float) -> int | None:
    # The rank falls into one class; within it, durations are taken to be spread evenly up to the slowest one seen.
    if not tallies:
        return None
    rank = share * sum(one.count for one in tallies)
    for bound in sorted({one.up_to_ms for one in tallies}):
        in_class = [one for one in tallies if one.up_to_ms == bound]
        count = sum(one.count for one in in_class)
        if rank <= count or bound == tallies[-1].up_to_ms:
            lower = max((b for b in BOUNDS_MS if b < bound), default=0)
            upper = max(one.slowest_ms for one in in_class)
            return round(lower + (upper - lower) * min(rank / count, 1.0))
        rank -= count
    raise AssertionError("unreachable: the last class takes every rank")
