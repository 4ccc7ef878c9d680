"""Batches that wait in Bouncer's own queue; more of it in tests/chaos/scenarios/queued.py."""

import pytest

from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, assert_verified_once, queue
from tests.flows.runs import ingested
from tests.sandbox_process import SandboxHandle

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
