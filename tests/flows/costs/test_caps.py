"""Caps on credits in a run of ingest: never passed at Bouncer's side, with nothing half-done."""

import pytest
from sqlalchemy import Engine

from bouncer.credits.caps import set_cap
from bouncer.storage.engine import write
from flows.ingest import ingest
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, assert_verified_once, queue, statuses
from tests.flows.runs import ingested
from tests.sandbox_process import SandboxHandle


def _open(engine: Engine) -> dict[str, int]:
    return {status: count for status, count in statuses(engine).items() if status != "completed"}


async def test_a_run_stops_before_its_cap_and_the_next_goes_on(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Bouncer charges the cap and not one credit more; what is left waits whole in the queue, and the run says why."""
    engine = await set_up_account(batch_size=40, max_credits_per_run=100)
    queue(engine, addresses(250))
    summary, _ = await ingested()
    charged = sandbox.ledger()["credits_charged"]
    assert (summary.outcome, charged, summary.failed) == ("capped", 100, 0)
    assert "this run has reached its cap of 100 credits; run ingest again to go on" in summary.message
    assert _open(engine) == {"queued": 250 - summary.verified}
    whole = await ingest(max_credits=0)
    assert whole.outcome == "drained"
    assert_verified_once(engine, sandbox, contacts=250)


@on_sqlite
@pytest.mark.scenario
async def test_a_request_stops_before_its_cap_and_others_go_on(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """One request's cap holds its own contacts back and nobody else's."""
    engine = await set_up_account(batch_size=40)
    queue(engine, addresses(100, prefix="capped"), request=1)
    queue(engine, addresses(60, prefix="free"), request=2)
    write(engine, set_cap, 1, 30)
    summary, _ = await ingested()
    assert summary.outcome == "capped"
    assert "request 1 has reached its cap of credits" in summary.message
    assert statuses(engine, request=2) == {"completed": 60}
    assert statuses(engine, request=1)["queued"] >= 100 - 30 * 1.2
    again, _ = await ingested()
    assert (again.outcome, again.verified) == ("capped", 0)


@on_sqlite
async def test_batches_that_were_never_sent_are_asked_for_their_cost_again(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """What an earlier run claimed and left behind unsent does not slip past the cap of the next."""
    engine = await set_up_account(batch_size=40)
    queue(engine, addresses(120))
    sandbox.post("/_sandbox/credits", {"key": sandbox.key, "credits": 1000})
    sandbox.fault("status", operation="create", code=401, times=None)
    state = await ingest(return_state=True)
    assert state.is_failed()
    sandbox.clear_faults()
    summary = await ingest(max_credits=50)
    assert (summary.outcome, sandbox.ledger()["credits_charged"]) == ("capped", 50)
