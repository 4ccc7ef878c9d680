"""Flow ingest where it must not go on: no credits, a paused account, a refused key, missing limits."""

import pytest
from prefect import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

from blocks.bouncer_account import BouncerAccount
from blocks.limits import limits_of
from blocks.limits_on_server import is_set
from bouncer.accounts import state as account_state
from bouncer.errors import KeyRefused, LimitsMissing, Paused
from bouncer.requests.requeueing import requeue
from bouncer.storage.engine import read, write
from flows.ingest import ingest
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, assert_verified_once, queue, statuses
from tests.flows.runs import events, ingested, until_it_holds
from tests.prefect_server import save_in_the_ui
from tests.sandbox_process import SandboxHandle


@pytest.mark.scenario
async def test_out_of_credits_pauses_and_a_top_up_lets_it_go_on(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """What the account can pay for is verified, the rest waits unharmed, and goes on once there are credits."""
    engine = await set_up_account(batch_size=100, max_concurrent_batches=2)
    queue(engine, addresses(200))
    sandbox.post("/_sandbox/credits", {"key": sandbox.key, "credits": 120})
    summary, _ = await ingested()
    assert (summary.outcome, summary.verified, summary.failed, summary.left) == ("paused", 100, 0, 100)
    assert "out of credits" in summary.message
    assert statuses(engine) == {"completed": 100, "queued": 100}

    sandbox.post("/_sandbox/credits", {"key": sandbox.key, "credits": 0})
    with pytest.raises(Paused, match=r"no credits left; top it up at app\.usebouncer\.com, then run ingest again"):
        await ingest()
    assert statuses(engine) == {"completed": 100, "queued": 100}

    sandbox.post("/_sandbox/credits", {"key": sandbox.key, "credits": 1000})
    summary, _ = await ingested()
    assert (summary.outcome, summary.verified) == ("drained", 100)
    assert read(engine, account_state.read_state, "default").paused_ts is None
    assert_verified_once(engine, sandbox, contacts=200)

    @until_it_holds
    async def told() -> None:
        assert {"bouncer-flows.credits.exhausted", "bouncer-flows.credits.restored"} <= {
            event["event"] for event in await events("bouncer-flows.credits.")
        }

    await told()


@on_sqlite
async def test_a_paused_account_sends_nothing(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """While somebody has paused the account, ingest says who and why, and uploads nothing."""
    engine = await set_up_account()
    queue(engine, addresses(10))
    write(engine, account_state.pause, "default", by="ann@desk", reason="the list is wrong")
    with pytest.raises(Paused, match="paused by ann@desk: the list is wrong; bouncer-flows resume lets it go on"):
        await ingest()
    assert statuses(engine) == {"queued": 10}
    assert "create" not in sandbox.ledger()["requests_by_operation"]
    write(engine, account_state.resume, "default")
    assert (await ingested())[0].verified == 10


@on_sqlite
@pytest.mark.scenario
async def test_a_wrong_key_fails_at_once_and_costs_no_contact(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """A key that Bouncer refuses ends the run at its first call with one message; contacts stay queued."""
    engine = await set_up_account(bouncer_api_key="not-the-key")
    queue(engine, addresses(10))
    with pytest.raises(KeyRefused, match="Bouncer answered 401 to credits: user not found"):
        await ingest()
    assert statuses(engine) == {"queued": 10}
    assert sandbox.ledger()["requests"] == 1


@on_sqlite
async def test_a_key_that_is_revoked_meanwhile_ends_the_run_and_loses_nothing(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Where Bouncer refuses the key in the middle, ingest ends with that message; a new key goes on with the rest."""
    engine = await set_up_account(batch_size=10, max_concurrent_batches=1)
    queue(engine, addresses(30))
    sandbox.fault("status", operation="create", code=401, message="user not found", after=1, times=None)
    with pytest.raises(KeyRefused, match="401"):
        await ingest()
    assert statuses(engine).get("failed", 0) == 0
    sandbox.clear_faults()
    assert (await ingested())[0].outcome == "drained"
    assert_verified_once(engine, sandbox, contacts=30)


@on_sqlite
@pytest.mark.timeout(90, func_only=True)
async def test_batches_that_wait_for_room_end_with_the_run_whose_key_is_refused(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """The batch in flight cannot be polled any more, so no room will ever come: the run ends instead of hanging."""
    engine = await set_up_account(batch_size=10, max_concurrent_batches=1)
    queue(engine, addresses(30))
    sandbox.fault("status", operation="status", code=401, message="user not found", times=None)
    with pytest.raises(KeyRefused, match="401"):
        await ingest()
    assert sandbox.ledger()["requests_by_operation"]["create"] == 1
    sandbox.clear_faults()
    assert (await ingested())[0].outcome == "drained"
    assert_verified_once(engine, sandbox, contacts=30)


@on_sqlite
@pytest.mark.timeout(90, func_only=True)
async def test_batches_that_wait_for_room_do_not_wait_for_held_ones(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where held batches take every place, the run ends and says what to do, instead of waiting silently for hours."""
    engine = await set_up_account(batch_size=10, max_concurrent_batches=2, ambiguous_upload="hold")
    queue(engine, addresses(50))
    sandbox.fault("lost_answer", operation="create", times=2)
    for _ in range(2):
        summary, _ = await ingested()
        assert (summary.outcome, summary.verified, summary.left) == ("paused", 0, 50)
        assert "held batches take all places of the account" in summary.message
        assert "bouncer-flows requeue --held" in summary.message
        assert sandbox.ledger()["batches"] == 2
    monkeypatch.setattr("bouncer.batches.admission.LOST_IN_FLIGHT_SECONDS", 0)
    requeue(engine, held=True)
    assert (await ingested())[0].outcome == "drained"
    assert statuses(engine) == {"completed": 50}
    assert sandbox.ledger()["most_in_flight"] <= 2


@on_sqlite
async def test_limits_follow_what_is_changed_in_the_block(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """Fewer batches or more requests in the block hold from the next ingest on, which needs no setup for it."""
    engine = await set_up_account()
    queue(engine, addresses(5))
    await save_in_the_ui(BouncerAccount, max_concurrent_batches=3, rate_limit_per_minute=8000)
    async with get_client() as client:
        # Somebody has switched it off besides: calls would pass unlimited.
        await client.update_global_concurrency_limit("bouncer-api", GlobalConcurrencyLimitUpdate(active=False))
    assert (await ingested())[0].outcome == "drained"
    async with get_client() as client:
        for limit in limits_of("default", batches=3, requests_per_minute=8000):
            assert await is_set(client, limit), limit


@on_sqlite
@pytest.mark.parametrize("limit", ["bouncer-api", "bouncer-batches", "bouncer-uploads"])
async def test_without_a_limit_nothing_is_sent(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, limit: str
) -> None:
    """Where a limit is missing, nothing would hold the rate, so ingest refuses and names the limit."""
    engine = await set_up_account()
    queue(engine, addresses(5))
    async with get_client() as client:
        await client.delete_global_concurrency_limit_by_name(limit)
    with pytest.raises(LimitsMissing, match=f"limit {limit} does not exist; run bouncer-flows setup"):
        await ingest()
    assert statuses(engine) == {"queued": 5}
    assert sandbox.ledger()["requests"] == 0
