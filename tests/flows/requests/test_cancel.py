"""Flow cancel: in the middle of a run, after a crash, and without any run, nothing of the request goes on."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from sqlalchemy import func, select

from bouncer.batches import admission
from bouncer.requests import cancelling
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch
from flows.requests.cancel import cancel
from tests.bouncer.storage.existing_tables import on_servers_in_time, on_sqlite, rows
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue, queue_known, statuses
from tests.deployments.running_commands import Started, run
from tests.flows.runs import ingested, until_it_holds
from tests.sandbox_process import SandboxHandle


async def test_a_request_is_cancelled_in_the_middle_of_a_run(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Its batches are finished at Bouncer and loaded, the rest leaves the queue, and other requests are verified."""
    engine = await set_up_account(batch_size=20, max_concurrent_batches=2)
    contacts = queue(engine, addresses(200), request=1, priority=100)
    sandbox.post("/_sandbox/settings", {"fixed_seconds": 20})
    running = asyncio.create_task(ingested())

    @until_it_holds
    async def running_at_bouncer() -> None:
        assert [batch["status"] for batch in sandbox.batches()] == ["processing", "queued"]

    await running_at_bouncer()
    # Forty of these wait for batches of the request that is cancelled.
    queue_known(engine, contacts[:200], request=2)
    sandbox.post("/_sandbox/settings", {"fixed_seconds": 0.3})
    report = await cancel(1, reason="the wrong list", by="ann@desk")
    assert (report.batches, report.failed, report.dry_run) == (0, 0, False)
    assert report.withdrawn + report.verified + report.left == 200
    assert report.withdrawn >= 160
    summary, _ = await running
    assert (summary.outcome, summary.failed) == ("drained", 0)
    assert statuses(engine, request=2) == {"completed": 200}
    ledger = sandbox.ledger()
    # The run and the cancellation may both see that it runs now, and both ask.
    assert ledger["finished"] >= 2
    assert ledger["addresses_charged_twice"] == 0


@on_sqlite
async def test_a_dry_run_changes_nothing(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """It says what would leave the queue; the request is verified afterwards as if nobody had asked."""
    engine = await set_up_account()
    queue(engine, addresses(30), request=5)
    report = await cancel(5, dry_run=True)
    assert (report.withdrawn, report.batches, report.dry_run) == (30, 0, True)
    assert "would be cancelled" in report.message
    assert statuses(engine) == {"queued": 30}
    assert sandbox.ledger()["requests"] == 0
    assert (await ingested())[0].verified == 30


@on_servers_in_time
async def test_a_killed_cancellation_is_completed_by_the_next(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, database_url: str, tmp_path: Path
) -> None:
    """After kill -9 of the ingest and of the command in the middle, the same command again does the rest."""
    engine = await set_up_account(batch_size=20, max_concurrent_batches=2)
    queue(engine, addresses(100), request=3)
    sandbox.post("/_sandbox/settings", {"fixed_seconds": 600})
    with Started(["ingest", "--json"], tmp_path, DATABASE_URL=database_url) as ingest:
        # Killed between an answer and its commit, it would have lost an upload, which nobody could finish.
        @until_it_holds
        async def written_down() -> None:
            uploaded = select(func.count()).where(Batch.bouncer_id.is_not(None))
            assert read(engine, lambda connection: connection.scalar(uploaded)) == 2
            assert [batch["status"] for batch in sandbox.batches()] == ["processing", "queued"]

        await written_down()
        ingest.send(signal.SIGKILL)
        ingest.wait(10)
    with Started(["cancel", "--request", "3"], tmp_path, DATABASE_URL=database_url) as command:

        @until_it_holds
        async def marked() -> None:
            assert read(engine, admission.is_cancelled, 3)

        await marked()
        command.send(signal.SIGKILL)
        command.wait(10)
    again = run(["cancel", "--request", "3", "--json"], {**os.environ, "DATABASE_URL": database_url, "COLUMNS": "200"})
    assert again.code == 0, again.err
    assert (again.answer["batches"], again.answer["left"]) == (0, 0)
    assert again.answer["withdrawn"] + again.answer["verified"] == 100
    assert set(statuses(engine)) <= {"completed", "failed"}
    ledger = sandbox.ledger()
    assert (ledger["batches"], ledger["finished"]) == (2, 2)
    reasons = {row["error_message"] for row in rows(engine, "Bouncer_Queue")["Bouncer_Queue"] if row["error_message"]}
    assert len(reasons) == 1
    assert reasons.pop().startswith("cancelled by ")
    summary, _ = await ingested()
    assert (summary.outcome, sandbox.ledger()["batches"]) == ("nothing to do", 2)


@on_sqlite
@pytest.mark.scenario
async def test_an_ingest_completes_what_a_killed_cancellation_began(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Where only the mark was set, the next ingest sends nothing of the request, and no contact counts as an error."""
    engine = await set_up_account()
    queue(engine, addresses(30), request=4)
    queue(engine, addresses(10, prefix="other"), request=6)
    write(engine, cancelling.mark, 4, by="ann", reason="gone")
    summary, _ = await ingested()
    assert (summary.outcome, summary.verified, summary.failed) == ("drained", 10, 0)
    assert statuses(engine, request=4) == {"failed": 30}
    assert sandbox.ledger()["addresses_uploaded"] == 10


@on_sqlite
async def test_a_request_that_is_not_there(set_up_account: SetUpAccount) -> None:
    """A mistyped id is told in one line that says what to do."""
    await set_up_account()
    with pytest.raises(Exception, match="there is no request 4711; bouncer-flows status lists them"):
        await cancel(4711)
