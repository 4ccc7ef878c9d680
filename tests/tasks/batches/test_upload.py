"""Uploads and what comes of them while the database or Bouncer is away: nothing is paid twice, nothing paid is lost."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest
from prefect.client.schemas.objects import State
from sqlalchemy import Engine, text
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from bouncer.accounts import circuit_breaker
from bouncer.accounts.state import ensure_row
from bouncer.api import client
from bouncer.queue import claiming
from bouncer.storage.engine import read, write
from bouncer.verdicts.freshness import FreshFor
from flows.verify_batch import verify_batch
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, assert_verified_once, queue, statuses
from tests.sandbox_process import SandboxHandle

pytestmark = on_sqlite

_soon = retry(
    retry=retry_if_exception_type(AssertionError), wait=wait_fixed(0.05), stop=stop_after_delay(60), reraise=True
)


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bouncer.storage.engine.OUTAGE_SECONDS", 0.3)
    monkeypatch.setattr("bouncer.storage.engine._SQLITE_BUSY_SECONDS", 0.1)


@contextmanager
def _database_away(engine: Engine) -> Iterator[None]:
    """Lets nobody write."""
    blocker = sqlite3.connect(str(engine.url.database), isolation_level=None, timeout=30)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()


def _claim_one(engine: Engine) -> int:
    claimed = write(engine, claiming.claim, "default", batches=1, batch_size=100, fresh_for=FreshFor(days=90))
    return claimed.batches[0].id


async def _run(batch: int) -> State[None]:
    return cast("State[None]", await verify_batch(batch, return_state=True))


@_soon
async def _sent(sandbox: SandboxHandle) -> None:
    assert [fault["fired"] for fault in sandbox.faults()] == [1]


async def test_a_paid_upload_is_not_lost_while_the_database_is_away(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, caplog: pytest.LogCaptureFixture
) -> None:
    """The id that Bouncer answered is kept until it can be stored, however long the database is away."""
    engine = await set_up_account(ambiguous_upload="hold")
    queue(engine, addresses(10))
    # With a failure before it, the answer is to be told to the breaker first.
    write(engine, ensure_row, "default")
    write(engine, circuit_breaker.record_failure, "default")
    batch = _claim_one(engine)
    sandbox.fault("slow", operation="create", seconds=3)
    run = asyncio.create_task(_run(batch))
    await _sent(sandbox)

    @_soon
    async def kept() -> None:
        assert "at Bouncer, which is not stored yet" in caplog.text

    with _database_away(engine):
        await kept()
    assert (await run).is_completed()
    assert sandbox.batches()[0]["id"] in caplog.text
    assert_verified_once(engine, sandbox, contacts=10)


async def test_a_lost_answer_is_not_forgotten_while_the_database_is_away(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload of unknown outcome is not taken for a refused one because it cannot be written down: it is held."""
    engine = await set_up_account(ambiguous_upload="hold")
    queue(engine, addresses(10))
    batch = _claim_one(engine)
    monkeypatch.setattr(client, "_TIMEOUT", client.httpx.Timeout(3))
    sandbox.fault("slow", operation="create", seconds=4)
    run = asyncio.create_task(_run(batch))
    await _sent(sandbox)
    with _database_away(engine):
        assert (await run).is_failed()
    write(engine, lambda c: c.execute(text("UPDATE Bouncer_Batches SET owner = NULL")))
    assert (await _run(batch)).name == "Held"
    assert sandbox.ledger()["requests_by_operation"]["create"] == 1


async def test_a_batch_is_not_finished_early_for_an_outage_of_bouncer(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage longer than the deadline the batch is asked for first: it may be complete, and is paid for."""

    async def at_once(_seconds: float) -> None:
        pass

    engine = await set_up_account()
    queue(engine, addresses(10))
    batch = _claim_one(engine)
    monkeypatch.setattr(client, "sleep_unless_stopping", at_once)
    sandbox.fault("status", operation="status", code=401)
    assert (await _run(batch)).is_failed()
    assert statuses(engine) == {"assigned": 10}
    write(engine, lambda c: c.execute(text("UPDATE Bouncer_Batches SET progress_ts = '2020-01-01 00:00:00'")))
    sandbox.fault("status", operation="status", code=503, times=3)
    assert (await _run(batch)).is_completed()
    assert "finish" not in sandbox.ledger()["requests_by_operation"]
    assert_verified_once(engine, sandbox, contacts=10)


async def test_an_answer_of_402_throws_no_paid_batch_away(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once Bouncer has the batch, that the account has no credits says nothing of it."""

    async def at_once(_seconds: float) -> None:
        pass

    engine = await set_up_account()
    queue(engine, addresses(10))
    batch = _claim_one(engine)
    monkeypatch.setattr(client, "sleep_unless_stopping", at_once)
    for operation in ("status", "download"):
        sandbox.fault("status", operation=operation, code=402, times=4)
    assert (await _run(batch)).is_completed()
    assert_verified_once(engine, sandbox, contacts=10)
    assert read(engine, lambda c: c.execute(text("SELECT paused_ts FROM Bouncer_Accounts")).scalar()) is None
