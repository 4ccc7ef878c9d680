"""How the calls went can be told afterwards, over all workers: how many, how long they took, what went wrong."""

import asyncio
import contextlib
import time
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select, update

from bouncer.accounts.call_statistics import (
    ANSWERED,
    BOUNDS_MS,
    CUT_SHORT,
    Call,
    CallNote,
    CallTally,
    count_calls,
    figures_of,
    outcome_of,
    store_notes,
)
from bouncer.api.request_gate import SharedGate
from bouncer.errors import BouncerFlowsError, BouncerUnavailable, RateLimited
from bouncer.storage.dialects import database_now
from bouncer.storage.engine import read, write
from bouncer.storage.tables import CallCount
from tests.bouncer.api.caller import Caller
from tests.bouncer.contacts import ACCOUNT
from tests.bouncer.storage.existing_tables import execute, on_sqlite


class _Limiter:
    """Lets everything pass."""

    async def acquire(self, call: Call) -> None:
        """Lets it pass."""


def _gate(engine: Engine) -> SharedGate:
    return SharedGate(engine, ACCOUNT, _Limiter(), "worker")


def _note(seconds: float = 0.03, call: Call = Call.STATUS, outcome: str = ANSWERED, ago: float = 0) -> CallNote:
    return CallNote(call, outcome, seconds, noted=time.monotonic() - ago)


async def test_calls_are_counted_over_all_workers(engine: Engine) -> None:
    """Forty calls of eight workers at once are forty, by call, outcome and class of duration; the slowest is known."""
    gates = [_gate(engine) for _ in range(8)]

    async def work(gate: SharedGate, number: int) -> None:
        for turn in range(5):
            gate.note(_note(0.03 + number / 1000))
            if turn == 3:
                gate.note(_note(2.5, outcome=outcome_of(RateLimited(None))))
            await gate.store_notes()

    await asyncio.gather(*(work(gate, number) for number, gate in enumerate(gates)))
    tallies = read(engine, count_calls, ACCOUNT, 5)
    assert sorted((one.call, one.outcome, one.up_to_ms, one.count, one.slowest_ms) for one in tallies) == [
        ("status", "answered", 50, 40, 37),
        ("status", "rate limited", 5000, 8, 2500),
    ]
    figures = figures_of(tallies)
    assert (figures.total, figures.errors, figures.max_ms) == (48, {"rate limited": 8}, 2500)
    assert figures.error_share == pytest.approx(1 / 6)
    assert read(engine, count_calls, "deep", 5) == []


async def test_notes_travel_with_the_next_request(engine: Engine) -> None:
    """A call costs no transaction of its own: it is counted with the next request, or when the caller goes."""
    gate = _gate(engine)
    gate.note(_note())
    assert read(engine, count_calls, ACCOUNT, 5) == []
    await gate.admit(Call.STATUS)
    assert sum(one.count for one in read(engine, count_calls, ACCOUNT, 5)) == 1
    gate.note(_note())
    await gate.failed()
    assert sum(one.count for one in read(engine, count_calls, ACCOUNT, 5)) == 2


@on_sqlite
async def test_a_call_is_counted_in_its_own_minute(engine: Engine) -> None:
    """A call whose note is stored ten minutes later belongs to the minute in which it was made."""
    write(engine, store_notes, ACCOUNT, [_note(ago=600), _note()])
    with engine.connect() as connection:
        minutes = sorted(connection.scalars(select(CallCount.window_start_ts)))
        now = database_now(connection)
    assert [minute.second for minute in minutes] == [0, 0]
    assert timedelta(minutes=9) <= minutes[1] - minutes[0] <= timedelta(minutes=10)
    assert now - minutes[1] < timedelta(minutes=2)
    assert sum(one.count for one in read(engine, count_calls, ACCOUNT, 5)) == 1


@on_sqlite
async def test_statistics_never_fail_a_run(engine: Engine) -> None:
    """Where calls cannot be counted any more when a client closes, that is told and nothing is raised."""
    gate = _gate(engine)
    gate.note(_note())
    execute(engine, "DROP TABLE Bouncer_Calls")
    await gate.store_notes()


@pytest.mark.parametrize(
    ("count", "seconds", "share", "lowest", "highest"),
    [(1, 0.3, "p50_ms", 200, 300), (1, 0.3, "p95_ms", 200, 300), (19, 7.0, "p95_ms", 5000, 7000)],
)
def test_percentiles_come_of_the_histogram(count: int, seconds: float, share: str, lowest: int, highest: int) -> None:
    """A percentile lies within its class of duration, and never above the slowest call that was seen."""
    bound = next(bound for bound in BOUNDS_MS if bound >= seconds * 1000)
    slow = CallTally("status", ANSWERED, bound, count, round(seconds * 1000))
    assert lowest < getattr(figures_of([slow]), share) <= highest


def test_percentiles_tell_the_usual_from_the_slow() -> None:
    """With 100 quick calls and 4 slow ones, the 95th percentile is quick; with 6 slow ones it is slow."""
    quick = CallTally("status", ANSWERED, 50, 100, 50)
    for slow_ones, is_slow in ((4, False), (6, True)):
        figures = figures_of([quick, CallTally("status", ANSWERED, 10_000, slow_ones, 9_000)])
        assert figures.p50_ms is not None
        assert figures.p95_ms is not None
        assert figures.p50_ms <= 50
        assert (figures.p95_ms > 5_000) is is_slow
    assert (figures_of([]).p50_ms, figures_of([]).error_share) == (None, 0.0)


@pytest.mark.parametrize(
    ("fault", "call", "outcomes"),
    [
        ({}, Call.STATUS, ["answered"]),
        ({"kind": "status", "code": 503}, Call.STATUS, ["bouncer unavailable"] * 3),
        ({"kind": "status", "code": 503, "times": 1}, Call.STATUS, ["bouncer unavailable", "answered"]),
        ({"kind": "status", "code": 429, "retry_after": 1}, Call.STATUS, ["rate limited", "answered"]),
        ({"kind": "cut_body", "times": 1}, Call.DOWNLOAD, ["download truncated", "answered"]),
        ({"kind": "malformed", "times": 1}, Call.DOWNLOAD, ["download truncated", "answered"]),
        ({"kind": "not_completed"}, Call.DOWNLOAD, ["batch not completed"]),
        ({"kind": "status", "code": 500}, Call.CREATE, ["upload outcome unknown"]),
        ({"kind": "status", "code": 401}, Call.CREDITS, ["key refused"]),
    ],
)
async def test_every_request_is_noted_with_what_came_of_it(
    caller: Caller, waits: list[float], fault: dict[str, object], call: Call, outcomes: list[str]
) -> None:
    """Each request that was sent is noted once, retries too, under the name of its error."""
    batch_id = await caller.completed()
    caller.gate.notes.clear()
    if fault:
        caller.sandbox.post("/_sandbox/faults", {"operation": call, "times": 3 if len(outcomes) == 3 else 1, **fault})
    with contextlib.suppress(BouncerFlowsError):
        await caller.call(call, batch_id)
    assert [(note.call, note.outcome) for note in caller.gate.notes] == [(call, outcome) for outcome in outcomes]
    assert all(0 < note.seconds < 30 for note in caller.gate.notes)


async def test_a_call_that_its_caller_cuts_short_is_an_error(caller: Caller) -> None:
    """A check waits 20 s for Bouncer's answer and not for the client's 90: such a call does not vanish."""
    caller.sandbox.fault("slow", operation="credits", seconds=5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await caller.call(Call.CREDITS, "")
    assert [(note.call, note.outcome) for note in caller.gate.notes] == [(Call.CREDITS, CUT_SHORT)]
    assert figures_of([CallTally(Call.CREDITS, CUT_SHORT, 500, 1, 500)]).errors == {CUT_SHORT: 1}


async def test_a_request_that_was_kept_back_is_not_noted(caller: Caller) -> None:
    """What the circuit breaker did not let out says nothing about Bouncer."""
    caller.gate.refusal = BouncerUnavailable("kept back")
    with pytest.raises(BouncerUnavailable):
        await caller.call(Call.CREDITS, "")
    assert caller.gate.notes == []


@on_sqlite
async def test_what_is_old_is_not_counted(engine: Engine) -> None:
    """Only the minutes that are asked for are summed up."""
    write(engine, store_notes, ACCOUNT, [_note()])
    with engine.begin() as connection:
        long_ago = database_now(connection) - timedelta(minutes=7)
        connection.execute(update(CallCount).values(window_start_ts=long_ago))
    assert read(engine, count_calls, ACCOUNT, 5) == []
    assert len(read(engine, count_calls, ACCOUNT, 10)) == 1
