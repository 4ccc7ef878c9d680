"""Real time: a handful of addresses does not wait for a slot, and a kill leaves few of them in doubt."""

import asyncio
import logging
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from bouncer.stopping import ask_to_stop, forget_stop
from bouncer.storage.engine import read
from bouncer.storage.tables import Batch, Contact
from flows.ingest import ingest
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue, statuses
from tests.flows.runs import ingested, until_it_holds
from tests.sandbox_process import SandboxHandle


def _batches(engine: Engine, **wanted: Any) -> list[Any]:
    query = select(Batch.__table__).filter_by(**wanted).order_by(Batch.id)
    return read(engine, lambda connection: list(connection.execute(query).all()))


@pytest.mark.scenario
async def test_a_small_request_does_not_wait_for_a_slot(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """While every slot is taken for hours, a handful of addresses gets its verdicts at once, as a batch of its own."""
    engine = await set_up_account(max_concurrent_batches=1, batch_size=50, realtime_max_addresses=10)
    sandbox.post("/_sandbox/settings", {"fixed_seconds": 3600})
    queue(engine, addresses(200, prefix="big"), request=1)
    running = asyncio.create_task(ingested())

    @until_it_holds
    async def the_slot_is_taken() -> None:
        assert sandbox.ledger()["batches"] == 1

    await the_slot_is_taken()
    queue(engine, addresses(8, prefix="urgent"), request=2)

    @until_it_holds
    async def the_small_one_is_done() -> None:
        assert statuses(engine, request=2) == {"completed": 8}
        (batch,) = _batches(engine, realtime=True)
        assert (batch.status, batch.quantity, batch.processed, batch.unanswered) == ("completed", 8, 8, 0)

    await the_small_one_is_done()
    assert statuses(engine, request=1).get("completed", 0) == 0
    (batch,) = _batches(engine, realtime=True)
    ledger = sandbox.ledger()
    assert (ledger["requests_by_operation"]["verify"], batch.expected_credits) == (8, ledger["credits_charged"])
    sandbox.post("/_sandbox/settings", {"fixed_seconds": 0.1})
    sandbox.post(f"/_sandbox/batches/{sandbox.batches()[0]['id']}/complete")
    summary, _ = await running
    assert (summary.outcome, summary.verified, summary.failed) == ("drained", 208, 0)
    assert sandbox.ledger()["addresses_charged_twice"] == 0


@on_sqlite
async def test_it_is_off_unless_it_is_turned_on(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """Without the setting, and for requests that are larger, everything goes in batches."""
    engine = await set_up_account()
    queue(engine, addresses(3))
    await ingested()
    engine = await set_up_account(realtime_max_addresses=5)
    queue(engine, addresses(6, prefix="more"), request=2)
    await ingested()
    assert "verify" not in sandbox.ledger()["requests_by_operation"]
    assert len(sandbox.batches()) == 2


@on_sqlite
@pytest.mark.parametrize("kind", ["lost_answer", "malformed", "cut_body"])
async def test_a_lost_answer_is_counted_and_asked_for_again(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, kind: str
) -> None:
    """Each address whose answer was lost may have been paid twice; it is shown, and no more of them than it were."""
    engine = await set_up_account(realtime_max_addresses=10)
    queue(engine, addresses(7))
    sandbox.fault(kind, operation="verify", times=2)
    summary, _ = await ingested()
    assert (summary.outcome, summary.verified, summary.possible_double_payments) == ("drained", 7, 2)
    assert sandbox.ledger()["addresses_charged_twice"] <= 2


@on_sqlite
async def test_one_lost_answer_a_round_keeps_no_other_address_from_its_verdict(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """An unsteady network costs a few answers; what was never asked for does not fail for that."""
    engine = await set_up_account(realtime_max_addresses=40)
    queue(engine, addresses(30))
    for number in range(6):
        sandbox.fault("lost_answer", operation="verify", after=5 * number)
    summary, _ = await ingested()
    assert (summary.outcome, summary.verified, summary.failed) == ("drained", 30, 0)
    assert summary.possible_double_payments == 6


@on_sqlite
async def test_a_lost_answer_can_wait_for_a_person(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """With hold, verdicts that came are kept, and the address in doubt is not asked for again by itself."""
    engine = await set_up_account(realtime_max_addresses=10, ambiguous_upload="hold")
    queue(engine, addresses(4))
    sandbox.fault("lost_answer", operation="verify")
    await ingested()
    assert statuses(engine) == {"completed": 3, "assigned": 1}
    (batch,) = _batches(engine)
    assert (batch.status, batch.held_ts is None, batch.ambiguous_addresses) == ("queued", False, 1)
    assert sandbox.ledger()["requests_by_operation"]["verify"] == 4


@on_sqlite
async def test_a_kill_leaves_only_what_was_under_way_in_doubt(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """What a dead run was waiting for is counted as perhaps paid, and asked for again; the rest goes on as it was."""
    engine = await set_up_account(realtime_max_addresses=10)
    queue(engine, addresses(9))
    sandbox.fault("status", operation="verify", code=401, after=5, times=None)
    state = await ingest(return_state=True)
    assert state.is_failed()
    assert statuses(engine) == {"completed": 5, "assigned": 4}
    with engine.begin() as connection:
        connection.execute(update(Batch).values(unanswered=3, owner="dead", heartbeat_ts=None))
    sandbox.clear_faults()
    summary, _ = await ingested()
    assert (summary.outcome, summary.possible_double_payments) == ("drained", 3)
    assert statuses(engine) == {"completed": 9}
    assert sandbox.ledger()["addresses_charged_twice"] == 0


@on_sqlite
async def test_a_429_leaves_nothing_in_doubt_while_it_is_waited_out(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """What Bouncer refuses was not paid for, and the verdicts beside it are stored: a kill in the wait costs nobody."""
    engine = await set_up_account(realtime_max_addresses=10)
    queue(engine, addresses(5))
    sandbox.fault("status", operation="verify", code=429, retry_after=100, after=2, times=None)
    running = asyncio.create_task(ingested())

    @until_it_holds
    async def the_window_is_waited_for() -> None:
        assert statuses(engine) == {"completed": 2, "assigned": 3}

    await the_window_is_waited_for()
    assert [batch.unanswered for batch in _batches(engine)] == [0]
    ask_to_stop()
    await running
    forget_stop()
    sandbox.clear_faults()
    summary, _ = await ingested()
    assert (summary.outcome, statuses(engine), summary.possible_double_payments) == ("drained", {"completed": 5}, 0)


@on_sqlite
async def test_without_credits_what_was_paid_is_kept(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """Verdicts that were paid for stay when the credits run out in the middle; the other contacts wait."""
    engine = await set_up_account(realtime_max_addresses=20)
    queue(engine, addresses(15))
    sandbox.post("/_sandbox/credits", {"key": sandbox.key, "credits": 6})
    summary, _ = await ingested()
    done = statuses(engine)["completed"]
    assert (summary.outcome, statuses(engine)) == ("paused", {"completed": done, "queued": 15 - done})
    assert 6 <= done < 15
    sandbox.post("/_sandbox/credits", {"key": sandbox.key, "credits": 100})
    summary, _ = await ingested()
    assert (summary.outcome, statuses(engine)) == ("drained", {"completed": 15})
    assert sandbox.ledger()["addresses_charged_twice"] == 0


@on_sqlite
async def test_an_address_that_bouncer_refuses_fails_alone(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """One address that Bouncer will never take fails with Bouncer's reason; the others get their verdicts."""
    engine = await set_up_account(realtime_max_addresses=20)
    queue(engine, addresses(6))
    sandbox.fault("status", operation="verify", code=400, message="invalid email")
    summary, _ = await ingested()
    assert (summary.outcome, summary.failed, statuses(engine)) == ("drained", 1, {"completed": 5, "failed": 1})


@on_sqlite
async def test_no_address_of_a_query_is_logged(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, caplog: pytest.LogCaptureFixture
) -> None:
    """Addresses travel behind a question mark, and httpx tells every URL; what is told of it ends before that."""
    engine = await set_up_account(realtime_max_addresses=5)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("httpx").setLevel(logging.DEBUG)
        queue(engine, addresses(3, prefix="secret"))
        await ingested()
    logging.getLogger("httpx").setLevel(logging.NOTSET)
    told = [record.getMessage() for record in caplog.records]
    assert any("/email/verify " in line for line in told if line.startswith("HTTP Request"))
    assert not any("secret" in line for line in told)


@on_sqlite
async def test_a_known_address_costs_nothing_in_real_time_either(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Fresh verdicts, and equal addresses of one request, are not asked for again."""
    engine = await set_up_account(realtime_max_addresses=10)
    queue(engine, addresses(4))
    await ingested()
    with engine.begin() as connection:
        connection.execute(update(Contact).values(bouncer_status="deliverable"))
    queue(engine, [*addresses(4), "new@example.com", "NEW@example.com"], request=2)
    summary, _ = await ingested()
    assert (summary.verified, summary.reused) == (6, 4)
    assert sandbox.ledger()["requests_by_operation"]["verify"] == 5


@on_sqlite
async def test_what_does_not_fit_into_the_hour_goes_as_a_batch(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Bouncer is told the time that it may take, and gets no more addresses an hour in real time than may be."""
    engine = await set_up_account(realtime_max_addresses=10, realtime_per_hour=5, realtime_timeout_seconds=17)
    queue(engine, addresses(4, prefix="first"), request=1)
    assert (await ingested())[0].verified == 4
    queue(engine, addresses(4, prefix="second"), request=2)
    assert (await ingested())[0].verified == 4
    ledger = sandbox.ledger()
    assert (ledger["requests_by_operation"]["verify"], ledger["batches"]) == (4, 1)
    assert ledger["timeouts_asked_for"] == {"17": 4}
