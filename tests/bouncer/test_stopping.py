"""A process that is to stop waits for nothing any more: not for a window, the breaker, the database or an answer."""

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from bouncer import stopping
from bouncer.accounts import circuit_breaker
from bouncer.accounts.call_statistics import Call
from bouncer.accounts.circuit_breaker import FAILURES_TO_OPEN
from bouncer.accounts.state import ensure_row
from bouncer.api import client
from bouncer.api.request_gate import SharedGate
from bouncer.errors import BouncerFlowsError, DatabaseUnavailable, Stopped, UploadOutcomeUnknown
from bouncer.storage import engine
from bouncer.storage.engine import write
from tests.bouncer.api.caller import Caller
from tests.bouncer.contacts import ACCOUNT
from tests.bouncer.storage.existing_tables import on_sqlite

_soon = retry(
    retry=retry_if_exception_type(AssertionError), wait=wait_fixed(0.05), stop=stop_after_delay(30), reraise=True
)


@pytest.fixture(autouse=True)
def _goes_on() -> Iterator[None]:
    yield
    stopping.forget_stop()


async def _ends_by_stop(work: asyncio.Task[object]) -> None:
    stopping.ask_to_stop()
    with pytest.raises(Stopped):
        await asyncio.wait_for(work, 20)


async def test_a_stop_ends_the_wait_after_429(caller: Caller) -> None:
    """An upload that Bouncer would have wait for minutes is left at once, certainly refused."""
    caller.sandbox.fault("status", operation="create", code=429, retry_after=120, times=None)
    uploading: asyncio.Task[object] = asyncio.create_task(caller.upload())

    @_soon
    async def refused() -> None:
        assert caller.refusals == 1

    await refused()
    await _ends_by_stop(uploading)
    assert (caller.sendings, caller.gate.failures) == (1, 0)


@on_sqlite
async def test_a_stop_ends_the_wait_at_an_open_breaker(engine: Engine) -> None:
    """A call that would wait a minute and a half for the breaker is left at once."""

    class Limiter:
        async def acquire(self, call: Call) -> None:
            raise AssertionError("nothing may pass")

    write(engine, ensure_row, ACCOUNT)
    for _ in range(FAILURES_TO_OPEN):
        write(engine, circuit_breaker.record_failure, ACCOUNT)
    await _ends_by_stop(asyncio.create_task(SharedGate(engine, ACCOUNT, Limiter(), "me").admit(Call.STATUS)))


async def test_nothing_new_is_sent_once_the_process_is_to_stop(caller: Caller) -> None:
    """What has not been sent yet is not sent any more."""
    stopping.ask_to_stop()
    with pytest.raises(Stopped):
        await caller.upload()
    assert (caller.sendings, caller.sandbox.ledger()["requests"]) == (0, 0)


@pytest.mark.parametrize(("call", "expected"), [(Call.CREATE, UploadOutcomeUnknown), (Call.STATUS, Stopped)])
async def test_an_answer_is_waited_for_only_so_long(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, call: Call, expected: type[BouncerFlowsError]
) -> None:
    """An upload that is cut off counts as one whose answer was lost; the breaker does not hear of it."""
    batch_id = (await caller.upload()).batch_id
    monkeypatch.setattr(client, "GRACE_SECONDS", 0.2)
    caller.sandbox.fault("slow", operation=str(call), seconds=60)
    calling = asyncio.create_task(caller.call(call, batch_id))

    @_soon
    async def arrived() -> None:
        assert [fault["fired"] for fault in caller.sandbox.faults()] == [1]

    await arrived()
    stopping.ask_to_stop()
    with pytest.raises(expected):
        await asyncio.wait_for(calling, 20)
    assert (caller.gate.failures, caller.refusals, True in caller.gate.unanswered_ones) == (0, 0, False)
    caller.sandbox.clear_faults()


def test_a_database_that_is_away_is_not_waited_for_after_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is to stop does not wait two minutes for a database that is restarting."""
    monkeypatch.setattr(stopping, "GRACE_SECONDS", -1)
    monkeypatch.setattr(engine, "OUTAGE_SECONDS", 1e6)
    stopping.ask_to_stop()
    nobody = engine.engine_for("mysql://nobody@127.0.0.1:1/contacts")
    with pytest.raises(DatabaseUnavailable):
        write(nobody, ensure_row, ACCOUNT)
