"""Every request passes the gate: it waits for the limiter and the breaker, and is counted, over all workers."""

import asyncio
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, update

from bouncer.accounts import circuit_breaker
from bouncer.accounts.call_statistics import Call
from bouncer.accounts.circuit_breaker import FAILURES_TO_OPEN, OPEN_SECONDS, State
from bouncer.accounts.state import ensure_row, read_state
from bouncer.api import request_gate
from bouncer.api.request_gate import TOKEN_SECONDS, SharedGate, Ticket, requests_in_window
from bouncer.errors import BreakerOpen, HourIsFull
from bouncer.storage.dialects import database_now
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Account, RateLimitWindow
from tests.bouncer.contacts import ACCOUNT, set_back
from tests.bouncer.storage.existing_tables import execute, rows


class _Limiter:
    """Lets everything pass, and remembers it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    async def acquire(self, call: Call) -> None:
        self.calls.append(call)


def _gate(engine: Engine, caller: str = "worker", limiter: _Limiter | None = None) -> SharedGate:
    return SharedGate(engine, ACCOUNT, limiter or _Limiter(), caller)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the gate would have waited."""
    waited: list[float] = []

    async def note(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(request_gate, "sleep_unless_stopping", note)
    return waited


def _counts(engine: Engine) -> list[int]:
    return [row["request_count"] for row in rows(engine, "Bouncer_Rate_Limit")["Bouncer_Rate_Limit"]]


async def test_one_row_a_minute(engine: Engine) -> None:
    """Requests of one minute are counted up in one row, whichever worker and call they are of."""
    limiter = _Limiter()
    for caller in ("one", "other"):
        for call in (Call.CREATE, Call.STATUS):
            await _gate(engine, caller, limiter).admit(call)
    assert sum(_counts(engine)) == 4
    assert limiter.calls == [Call.CREATE, Call.STATUS] * 2
    window = rows(engine, "Bouncer_Rate_Limit")["Bouncer_Rate_Limit"][0]
    start, end = (datetime.fromisoformat(str(window[name])) for name in ("window_start_ts", "window_end_ts"))
    assert (window["account"], start.second, end - start) == (ACCOUNT, 0, timedelta(minutes=1))


async def test_how_many_were_sent_this_minute(engine: Engine) -> None:
    """What was sent in the present minute can be asked, an account at a time."""
    minute = read(engine, database_now).minute
    await _gate(engine).admit(Call.STATUS)
    await _gate(engine).admit(Call.STATUS)
    sent, other = read(engine, requests_in_window, ACCOUNT), read(engine, requests_in_window, "deep")
    assert sent == 2 or read(engine, database_now).minute != minute
    assert other == 0


async def test_parallel_requests_are_all_counted(engine: Engine) -> None:
    """Sixty-four requests of eight workers at once are sixty-four, not fewer because some were counted together."""
    gates = [_gate(engine, f"worker {number}") for number in range(8)]
    await asyncio.gather(*(one.admit(Call.STATUS) for one in gates for _ in range(8)))
    assert sum(_counts(engine)) == 64
    assert len(_counts(engine)) <= 2


async def test_nothing_is_sent_while_the_breaker_is_open(engine: Engine, pauses: list[float]) -> None:
    """A call waits at an open breaker, and is told after a while; it costs neither the limiter nor a count."""
    limiter = _Limiter()
    write(engine, ensure_row, ACCOUNT)
    for _ in range(FAILURES_TO_OPEN):
        await _gate(engine).failed()
    with pytest.raises(BreakerOpen, match="circuit breaker is open"):
        await _gate(engine, limiter=limiter).admit(Call.STATUS)
    assert (limiter.calls, _counts(engine)) == ([], [])
    assert request_gate.BREAKER_PATIENCE_SECONDS <= sum(pauses) < 2 * request_gate.BREAKER_PATIENCE_SECONDS


async def test_one_probe_and_then_all_pass(engine: Engine, pauses: list[float]) -> None:
    """After a minute one call goes out, and its answer lets all others pass."""
    write(engine, ensure_row, ACCOUNT)
    for _ in range(FAILURES_TO_OPEN):
        await _gate(engine).failed()
    set_back(engine, Account.breaker_changed_ts, OPEN_SECONDS)
    probe, other = _gate(engine, "probe"), _gate(engine, "other")
    ticket = await probe.admit(Call.STATUS)
    with pytest.raises(BreakerOpen):
        await other.admit(Call.STATUS)
    await probe.answered(ticket)
    assert read(engine, read_state, ACCOUNT).breaker_state == State.CLOSED
    pauses.clear()
    await other.admit(Call.STATUS)
    assert pauses == []


async def test_an_answer_clears_earlier_failures(engine: Engine) -> None:
    """A call that was answered after others had failed starts their count anew."""
    one, other = _gate(engine, "one"), _gate(engine, "other")
    await one.admit(Call.STATUS)
    await one.failed()
    await other.answered(await other.admit(Call.STATUS))
    assert read(engine, read_state, ACCOUNT).breaker_failures == 0
    assert write(engine, circuit_breaker.enter, ACCOUNT, "one") is circuit_breaker.Entry.PASSED


async def test_half_open_lets_one_request_through_and_not_one_caller(engine: Engine, pauses: list[float]) -> None:
    """Five requests in real time are of one caller, and so are all attempts of a call: one of them is the probe."""
    write(engine, ensure_row, ACCOUNT)
    one = _gate(engine)
    for _ in range(FAILURES_TO_OPEN):
        await one.failed()
    set_back(engine, Account.breaker_changed_ts, OPEN_SECONDS)
    limiter = _Limiter()
    one = _gate(engine, limiter=limiter)
    asked = await asyncio.gather(*(one.admit(Call.VERIFY) for _ in range(5)), return_exceptions=True)
    (probe,) = [ticket for ticket in asked if isinstance(ticket, Ticket)]
    assert sum(isinstance(refused, BreakerOpen) for refused in asked) == 4
    assert sum(_counts(engine)) == 1
    await one.unanswered(probe, failed=True)
    assert read(engine, read_state, ACCOUNT).breaker_state == State.OPEN
    with pytest.raises(BreakerOpen):
        await one.admit(Call.VERIFY)


async def test_a_probe_that_was_not_sent_costs_the_others_no_minute(engine: Engine, pauses: list[float]) -> None:
    """A probe that a pause kept back, say, lets the next request be it at once."""
    write(engine, ensure_row, ACCOUNT)
    one = _gate(engine)
    for _ in range(FAILURES_TO_OPEN):
        await one.failed()
    set_back(engine, Account.breaker_changed_ts, OPEN_SECONDS)
    await one.unanswered(await one.admit(Call.CREATE), failed=False)
    await one.answered(await one.admit(Call.STATUS))
    assert read(engine, read_state, ACCOUNT).breaker_state == State.CLOSED
    assert pauses == []


async def test_what_the_breaker_cannot_store_costs_the_caller_nothing(engine: Engine) -> None:
    """The id of a paid upload is not lost because the breaker cannot be told of its answer."""
    one = _gate(engine)
    await one.admit(Call.CREATE)
    await one.failed()
    suspect = await one.admit(Call.CREATE)
    assert suspect.suspect
    execute(engine, "DROP TABLE Bouncer_Accounts")
    await one.answered(suspect)
    await one.unanswered(suspect, failed=True)
    await one.failed()


async def test_a_request_that_was_held_up_takes_a_new_token(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an outage of the database no request is sent with an old token beside a bucket that is full again."""
    now = 1_000.0
    monkeypatch.setattr(request_gate, "monotonic", lambda: now)
    limiter = _Limiter()
    one = _gate(engine, limiter=limiter)
    ticket = await one.admit(Call.CREATE)
    now += TOKEN_SECONDS
    await one.renew(ticket)
    assert limiter.calls == [Call.CREATE]
    now += 0.1
    await one.renew(ticket)
    assert limiter.calls == [Call.CREATE] * 2
    assert sum(_counts(engine)) == 1


async def test_no_more_addresses_an_hour_in_real_time_than_may_be(engine: Engine) -> None:
    """Over all workers; the one too many is not counted, other calls pass, and after an hour there is room again."""
    gates = [SharedGate(engine, ACCOUNT, _Limiter(), caller, realtime_per_hour=5) for caller in ("one", "two", "three")]
    outcomes = await asyncio.gather(
        *(gate.admit(Call.VERIFY) for gate in gates for _ in range(3)), return_exceptions=True
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert {type(error) for error in refused} == {HourIsFull}
    assert (len(refused), sum(_counts(engine))) == (4, 5)
    assert "REALTIME_PER_HOUR" in str(refused[0])
    await gates[0].admit(Call.STATUS)
    long_ago = read(engine, database_now) - timedelta(minutes=62)
    write(engine, lambda c: c.execute(update(RateLimitWindow).values(window_start_ts=long_ago)))
    await gates[0].admit(Call.VERIFY)
