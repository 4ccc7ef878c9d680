"""Flow ingest: what waits in the queue ends with a verdict, each address is paid for once, and people can follow it."""

import asyncio
from collections import Counter

import pytest
from prefect import get_client
from sqlalchemy import select, update

from bouncer import accounts
from bouncer.database import write
from bouncer.errors import KeyRefused, LimitsMissing, Paused, SettingRefused
from bouncer.tables import Batch, Contact, QueuedContact, Result
from flows.ingest import ingest
from tests.bouncer.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, assert_verified_once, queue, queue_known, statuses
from tests.flows.runs import ask_until_it_holds, ingested, subflows_of, tasks_of
from tests.sandbox_process import SandboxHandle


async def test_every_contact_gets_its_verdict_and_is_paid_for_once(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Contacts of several batches all end with Bouncer's verdict, one subflow a batch, and running again does nothing."""
    engine = await set_up_account(max_concurrent_batches=3)
    queue(engine, addresses(2000))
    import time; t0=time.time()
    summary, run = await ingested()
    print("TIME", time.time()-t0, summary.seconds)
    ledger = sandbox.ledger()
    assert (summary.outcome, summary.contacts, summary.verified) == ("drained", 2000, 2000)
    assert (summary.failed, summary.left, summary.batches) == (0, 0, 5)
    assert summary.message == "drained: 2,000 contacts verified, 0 failed, 0 still wait"
    assert sum(summary.verdicts.values()) == 2000
    assert (ledger["batches"], ledger["downloads"]) == (5, 5)
    assert ledger["most_in_flight"] <= 3
    # Credits, then for each batch an upload, a download, and a poll each 0.1 s of its 0.3 s at the most.
    assert ledger["requests"] <= 1 + 5 * (2 + 6)
    assert ledger["answers_by_status"] == {"200": ledger["requests"]}
    assert_verified_once(engine, sandbox, contacts=2000)

    subflows = await subflows_of(run)
    assert {str(subflow.name) for subflow in subflows} == {
        f"batch {number}: 400 contacts of request 1" for number in range(1, 6)
    }
    assert all(subflow.state is not None and subflow.state.is_completed() for subflow in subflows)

    again, second_run = await ingested()
    assert again.outcome == "nothing to do"
    assert again.message == "nothing to do: no contacts wait in the queue"
    assert await subflows_of(second_run) == []
    assert sandbox.ledger()["batches"] == 5
