"""Several accounts over one queue: throughput grows with them, they share fairly, and none stops the others."""

import asyncio
from collections import Counter

import pytest
from sqlalchemy import Engine

from bouncer.accounts import state as account_state
from bouncer.errors import KeyRefused
from bouncer.storage.engine import read, write
from flows.ingest import ingest
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, assert_verified_once, queue, statuses
from tests.flows.runs import ingested, until_it_holds
from tests.prefect_server import add_account
from tests.sandbox_process import SandboxHandle

_SECOND_KEY = "second-key"


async def _two_accounts(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, *, slots: int = 2, credits_left: int = 1_000_000
) -> Engine:
    sandbox.post("/_sandbox/keys", {"key": _SECOND_KEY, "credits": credits_left})
    engine = await set_up_account(batch_size=20, max_concurrent_batches=slots)
    await add_account("second", api_key=_SECOND_KEY)
    return engine


def _batches_by_key(sandbox: SandboxHandle) -> Counter[str]:
    return Counter(batch["key"] for batch in sandbox.batches())


@on_sqlite
async def test_two_accounts_have_twice_the_batches_in_flight(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Each account has slots of its own, all of them are used, and none has more in flight than it may."""
    engine = await _two_accounts(set_up_account, sandbox)
    sandbox.post("/_sandbox/settings", {"fixed_seconds": 600})
    queue(engine, addresses(160))
    running = asyncio.create_task(ingested())

    @until_it_holds
    async def all_slots_are_used() -> None:
        assert sandbox.ledger()["in_flight_now"] == 4

    await all_slots_are_used()
    in_flight = sandbox.batches()
    assert Counter(batch["key"] for batch in in_flight) == {sandbox.key: 2, _SECOND_KEY: 2}
    sandbox.post("/_sandbox/settings", {"fixed_seconds": 0.1})
    for batch in in_flight:
        sandbox.post(f"/_sandbox/batches/{batch['id']}/complete")
    summary, _ = await running
    assert (summary.outcome, summary.verified, summary.batches) == ("drained", 160, 8)
    assert sandbox.ledger()["most_in_flight"] <= 4
    assert_verified_once(engine, sandbox, contacts=160)


@on_sqlite
@pytest.mark.scenario
async def test_accounts_share_a_short_queue(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """Where one account could take all that waits, the other still gets its half, and all is done in half the time."""
    engine = await _two_accounts(set_up_account, sandbox, slots=15)
    queue(engine, addresses(80))
    summary, _ = await ingested()
    assert (summary.outcome, summary.verified) == ("drained", 80)
    assert _batches_by_key(sandbox) == {sandbox.key: 2, _SECOND_KEY: 2}


@on_sqlite
async def test_an_account_without_credits_does_not_stop_the_others(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """What one account cannot pay for goes back into the queue, and the other one verifies it."""
    engine = await _two_accounts(set_up_account, sandbox, credits_left=0)
    queue(engine, addresses(160))
    summary, _ = await ingested()
    assert (summary.outcome, summary.verified, summary.left) == ("drained", 160, 0)
    assert "account second: paused by ingest: out of credits" in summary.message
    assert read(engine, account_state.read_state, "second").waits_for_credits
    assert read(engine, account_state.read_state, "default").paused_ts is None
    assert_verified_once(engine, sandbox, contacts=160)


@on_sqlite
async def test_an_account_with_a_wrong_key_does_not_stop_the_others(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """An account whose key is refused at the start is set aside and named; with all keys refused nothing runs."""
    engine = await set_up_account(batch_size=20)
    await add_account("second", api_key="not-a-key")
    queue(engine, addresses(40))
    summary, _ = await ingested()
    assert (summary.outcome, summary.verified) == ("drained", 40)
    assert "account second: Bouncer answered 401 to credits" in summary.message
    sandbox.revoke(sandbox.key)
    queue(engine, addresses(5, prefix="later"))
    with pytest.raises(KeyRefused):
        await ingest()
    assert statuses(engine) == {"completed": 40, "queued": 5}


async def test_a_key_that_is_refused_in_the_middle_loses_nothing(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """What a refused account has not sent, the other one sends; what Bouncer has already waits for the right key."""
    engine = await _two_accounts(set_up_account, sandbox)
    queue(engine, addresses(160))
    sandbox.fault("status", operation="create", code=401, message="user not found")
    summary, _ = await ingested()
    assert summary.failed == 0
    assert summary.left <= 2 * 20
    assert "Bouncer answered 401 to create" in summary.message
    await ingested()
    assert_verified_once(engine, sandbox, contacts=160)


@on_sqlite
async def test_accounts_are_recovered_side_by_side(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage each account gives its silent runs time to say that they live, all of them the same time."""
    engine = await _two_accounts(set_up_account, sandbox)
    queue(engine, addresses(40))
    both = asyncio.Barrier(2)

    async def wait_for_the_other(_: float) -> None:
        await asyncio.wait_for(both.wait(), timeout=30)

    async def are_silent(*_: object) -> bool:
        return True

    monkeypatch.setattr("tasks.batches.recovery.ownership.has_leases_of_silent_owners", are_silent)
    monkeypatch.setattr("tasks.batches.recovery.sleep_unless_stopping", wait_for_the_other)
    summary, _ = await ingested()
    assert (summary.outcome, summary.verified) == ("drained", 40)


@on_sqlite
async def test_a_paused_account_hands_its_unsent_batches_over(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Batches that were made for an account before somebody paused it do not wait for its pause to end."""
    engine = await _two_accounts(set_up_account, sandbox)
    queue(engine, addresses(40))
    sandbox.fault("status", operation="create", code=401, message="user not found", times=None)
    with pytest.raises(KeyRefused):
        await ingest()
    sandbox.clear_faults()
    assert "assigned" in statuses(engine)
    write(engine, account_state.pause, "default", by="ann@desk", reason="the invoice")
    summary, _ = await ingested()
    assert (summary.outcome, summary.verified) == ("drained", 40)
    assert _batches_by_key(sandbox) == {_SECOND_KEY: 2}
    assert_verified_once(engine, sandbox, contacts=40)
