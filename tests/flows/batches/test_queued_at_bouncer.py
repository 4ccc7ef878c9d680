"""Batches that wait in Bouncer's own queue; more of it in tests/chaos/scenarios/queued.py."""

import pytest

from bouncer.batches.batches_in_flight import SLOWEST_SECONDS_AN_ADDRESS
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, assert_verified_once, queue
from tests.flows.runs import ingested
from tests.sandbox_process import SandboxHandle, running_sandbox

_DEADLINE_SECONDS = 1.0


@on_sqlite
@pytest.mark.scenario
async def test_behind_somebody_else_s_list_for_three_deadlines_nothing_is_bought_twice(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Batches that waited longer than their deadline were given up and sent again, more at a time than may be."""
    engine = await set_up_account(
        batch_size=10, max_concurrent_batches=3, batch_deadline_seconds=_DEADLINE_SECONDS, queue_ahead_minutes=0
    )
    sandbox.put_ahead(3 * _DEADLINE_SECONDS)
    queue(engine, addresses(50))
    summary, _ = await ingested()
    assert (summary.outcome, summary.verified, summary.left) == ("drained", 50, 0)
    assert_verified_once(engine, sandbox, contacts=50)
    ledger = sandbox.ledger()
    assert (ledger["batches"], ledger["finished"]) == (5, 0)
    assert ledger["most_in_flight"] <= 3


@on_sqlite
@pytest.mark.scenario
async def test_a_new_account_whose_batches_run_side_by_side_soon_has_all_places_in_use(
    set_up_account: SetUpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three batches may be queued before it is known how they run; the others waited for looks, three times over."""
    monkeypatch.setattr("flows.ingest.LOOK_SECONDS", 3_600)
    # By the slowest pace that Bouncer names, 18 s a batch, two batches ahead may be waited for.
    queue_ahead_seconds = 2.5 * 500 * SLOWEST_SECONDS_AN_ADDRESS
    with running_sandbox(fixed_seconds=15, parallel=9) as bouncer:
        engine = await set_up_account(
            bouncer_api_base_url=bouncer.url,
            bouncer_api_key=bouncer.key,
            batch_size=500,
            max_concurrent_batches=9,
            queue_ahead_minutes=queue_ahead_seconds / 60,
            poll_seconds_min=2,
            poll_seconds_max=5,
        )
        queue(engine, addresses(4_500))
        summary, _ = await ingested()
        assert (summary.outcome, summary.verified) == ("drained", 4_500)
        assert bouncer.ledger()["most_in_flight"] == 9
