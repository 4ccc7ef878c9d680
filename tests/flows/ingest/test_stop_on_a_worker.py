"""Runs that a worker or ``serve`` has started: SIGTERM ends them gracefully, in a process as Prefect starts it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import State, StateType
from prefect.states import Cancelling
from sqlalchemy import select
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from bouncer.queue import claiming
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch
from bouncer.verdicts.freshness import FreshFor
from flows.verify_batch import verify_batch
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue, statuses
from tests.flows.runs import until_it_holds
from tests.prefect_server import served_deployments
from tests.sandbox_process import SandboxHandle


@on_sqlite
@pytest.mark.parametrize("kind", ["slow", "status"])
async def test_sigterm_leaves_the_batch_resumable(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, kind: str
) -> None:
    """A run that is stopped while an answer or the window after a 429 is waited for ends in order, and frees its batch.

    Prefect's own handler raises in the middle of that: the batch keeps its owner and its upload looks lost.
    """
    engine = await set_up_account()
    queue(engine, addresses(10))
    claimed = write(engine, claiming.claim, "default", batches=1, batch_size=100, fresh_for=FreshFor(days=90))
    sandbox.fault(kind, operation="create", **({"seconds": 5} if kind == "slow" else {"code": 429, "retry_after": 100}))
    async with get_client() as client:
        (served,) = [one for one in await served_deployments(1) if one.name == "verify-batch"]
        deployment = await served.aapply()
        run = await client.create_flow_run_from_deployment(deployment, parameters={"batch_id": claimed.batches[0].id})
        environment = {**os.environ, "PREFECT__FLOW_RUN_ID": str(run.id)}
        child = subprocess.Popen([sys.executable, "-m", "prefect.engine"], env=environment)  # noqa: ASYNC220  # it only starts
        try:
            await _until_sent(sandbox)
            child.send_signal(signal.SIGTERM)
            assert child.wait(60) == 0
        finally:
            child.kill()
        ended = await client.read_flow_run(run.id)
        await client.delete_deployment(deployment)
    assert ended.state is not None
    assert (ended.state.is_completed(), ended.state.name) == (True, "LeftAsItIs")
    row = read(engine, lambda c: c.execute(select(Batch.owner, Batch.bouncer_id, Batch.upload_begun_ts)).one())
    assert row.owner is None
    assert (row.batch_id is None, row.upload_begun_ts is None) == ((False, False) if kind == "slow" else (True, True))


@on_sqlite
@pytest.mark.long
async def test_a_run_that_is_cancelled_in_the_ui_ends_cancelled_and_its_batch_goes_on_later(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, tmp_path: Path
) -> None:
    """The worker sends SIGTERM then, which the run hears itself; the server takes no other end from it all the same."""
    engine = await set_up_account(poll_seconds_min=1, poll_seconds_max=1)
    sandbox.post("/_sandbox/settings", {"fixed_seconds": 3600})
    queue(engine, addresses(10))
    claimed = write(engine, claiming.claim, "default", batches=1, batch_size=100, fresh_for=FreshFor(days=90))
    async with get_client() as client:
        # Runs that other tests have left on this server are for the pool of the project.
        await client.create_work_pool(WorkPoolCreate(name="of-this-test", type="process"), overwrite=True)
        (served,) = [one for one in await served_deployments(1) if one.name == "verify-batch"]
        served.work_pool_name, served.work_queue_name = "of-this-test", "default"
        deployment = await served.aapply()
        run = await client.create_flow_run_from_deployment(deployment, parameters={"batch_id": claimed.batches[0].id})
        with _worker("of-this-test", tmp_path):
            await _until_in_flight(sandbox)
            await client.set_flow_run_state(run.id, Cancelling())
            ended = await _until_ended(client, run.id)
        await client.delete_deployment(deployment)
    assert (ended.type, ended.name) == (StateType.CANCELLED, "Cancelled"), (tmp_path / "worker.log").read_text()
    row = read(engine, lambda c: c.execute(select(Batch.owner, Batch.status)).one())
    assert (row.owner, row.status) == (None, "processing")
    sandbox.post(f"/_sandbox/batches/{sandbox.batches()[0]['id']}/complete")
    await verify_batch(claimed.batches[0].id)
    assert statuses(engine) == {"completed": 10}


@contextmanager
def _worker(pool: str, folder: Path) -> Iterator[None]:
    environment = {**os.environ, "PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    with (folder / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool],
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            yield
        finally:
            worker.terminate()
            worker.wait(60)


_eventually = retry(
    retry=retry_if_exception_type(AssertionError), wait=wait_fixed(0.2), stop=stop_after_delay(120), reraise=True
)


@_eventually
async def _until_in_flight(sandbox: SandboxHandle) -> None:
    assert sandbox.ledger()["requests_by_operation"].get("status")


@_eventually
async def _until_ended(client: PrefectClient, run: UUID) -> State:
    state = (await client.read_flow_run(run)).state
    assert state is not None
    assert state.is_final()
    return state


@until_it_holds
async def _until_sent(sandbox: SandboxHandle) -> None:
    assert sum(fault["fired"] for fault in sandbox.faults()) == 1
