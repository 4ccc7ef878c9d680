"""Runs that a worker or ``serve`` has started: SIGTERM ends them gracefully, in a process as Prefect starts it."""

import os
import signal
import subprocess
import sys

import pytest
from prefect import get_client
from sqlalchemy import select

from bouncer import claiming
from bouncer.database import read, write
from bouncer.reusing import FreshFor
from bouncer.tables import Batch
from deployments.catalogue import served_deployments
from tests.bouncer.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue
from tests.flows.runs import until_it_holds
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
    row = read(engine, lambda c: c.execute(select(Batch.owner, Batch.batch_id, Batch.upload_begun_ts)).one())
    assert row.owner is None
    assert (row.batch_id is None, row.upload_begun_ts is None) == ((False, False) if kind == "slow" else (True, True))


@until_it_holds
async def _until_sent(sandbox: SandboxHandle) -> None:
    assert sum(fault["fired"] for fault in sandbox.faults()) == 1
