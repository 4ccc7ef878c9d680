"""Flow steer: a pause in the middle of a run lets what is in flight finish, and a resume rushes nothing."""

import asyncio

import pytest
from prefect.exceptions import ParameterTypeError
from pydantic import ValidationError

from bouncer.accounts import state as account_state
from bouncer.errors import InputRefused
from bouncer.storage.engine import read, write
from flows.steer import steer
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, assert_verified_once, queue, statuses
from tests.flows.runs import events, ingested, until_it_holds
from tests.sandbox_process import SandboxHandle


@pytest.mark.parametrize(("database_url", "slots"), [("sqlite", 3), ("mariadb", 15)], indirect=["database_url"])
async def test_a_pause_in_the_middle_lets_batches_in_flight_finish_and_starts_none(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, slots: int
) -> None:
    """All batches in flight are loaded, no upload follows, and after the resume the limits hold as before."""
    engine = await set_up_account(batch_size=5, max_concurrent_batches=slots, rate_limit_per_minute=200)
    queue(engine, addresses(5 * slots + 25))
    sandbox.post("/_sandbox/settings", {"fixed_seconds": 600})
    running = asyncio.create_task(ingested())

    @until_it_holds
    async def all_slots_are_taken() -> None:
        assert sandbox.ledger()["batches"] == slots

    await all_slots_are_taken()
    assert await steer("pause", reason="the list is wrong", by="ann")
    assert not await steer("pause", reason="too late", by="bob")
    assert read(engine, account_state.read_state, "default").paused_by == "ann"
    assert not running.done()
    for batch in sandbox.batches():
        sandbox.post(f"/_sandbox/batches/{batch['id']}/complete")
    summary, _ = await running
    assert (summary.outcome, summary.verified, summary.left) == ("paused", 5 * slots, 25)
    assert "paused by ann: the list is wrong" in summary.message
    assert sandbox.ledger()["batches"] == slots
    assert statuses(engine)["completed"] == 5 * slots

    sandbox.post("/_sandbox/settings", {"fixed_seconds": 0.1})
    assert await steer("resume", by="ann")
    assert read(engine, account_state.read_state, "default").paused_ts is None
    summary, _ = await ingested()
    assert (summary.outcome, summary.verified) == ("drained", 25)
    assert_verified_once(engine, sandbox, contacts=5 * slots + 25)
    ledger = sandbox.ledger()
    assert ledger["batches_over_limit"] == 0
    assert ledger["most_in_flight"] == slots
    assert ledger["most_requests_in_60s"] <= 200
    assert ledger["most_uploads_in_60s"] <= 60


@on_sqlite
async def test_who_paused_and_why_is_told(set_up_account: SetUpAccount) -> None:
    """The state names them, an event tells once, and resuming what goes on changes nothing."""
    engine = await set_up_account()
    assert not await steer("resume")
    assert await steer("pause", reason="wait for ann@example.com", by="bob")
    state = read(engine, account_state.read_state, "default")
    assert (state.paused_by, state.paused_reason) == ("bob", "wait for [address]")

    @until_it_holds
    async def told() -> None:
        found = [event for event in await events("bouncer-flows.uploads.paused") if event["payload"]["by"] == "bob"]
        assert len(found) == 1
        assert "example.com" not in str(found)

    await told()
    assert await steer("resume")


@on_sqlite
async def test_a_pause_of_an_account_that_there_is_not_says_so(set_up_account: SetUpAccount) -> None:
    """A mistyped account is refused, instead of pausing nothing and saying that it is paused."""
    engine = await set_up_account()
    write(engine, account_state.ensure_row, "second")
    with pytest.raises(InputRefused, match="there is no account secnd; there are: default, second"):
        await steer("pause", account="secnd")
    assert await steer("pause", account="second") == ["second"]
    assert read(engine, account_state.read_state, "default").paused_ts is None


@on_sqlite
async def test_a_pause_of_everything_leaves_no_account_out(set_up_account: SetUpAccount) -> None:
    """Where no account is named, all of them pause, and all of them go on."""
    engine = await set_up_account()
    write(engine, account_state.ensure_row, "second")
    assert await steer("pause", account="second") == ["second"]
    assert await steer("pause") == ["default"]
    assert await steer("resume") == ["default", "second"]


async def test_an_action_that_there_is_not() -> None:
    """A mistyped action is refused before anything runs."""
    with pytest.raises((ValidationError, ParameterTypeError)):
        await steer("stop")  # type: ignore[arg-type]  # what must be refused
