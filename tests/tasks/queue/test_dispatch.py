"""Starting batches on workers: one run for each, and another only where the first will never take the batch."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest
from prefect import flow, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed, Pending, Running

from blocks.access import open_access
from blocks.bouncer_account import BouncerAccount
from bouncer.batches.state import BatchState, BatchTitle
from bouncer.errors import SettingRefused
from bouncer.installation import here
from deployments.server.local_server import LocalServer
from tasks.queue import dispatch
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.prefect_server import served_deployments

pytestmark = pytest.mark.mainline

_BATCH = BatchTitle(9_000_001, 50, 3, 100)
_TARGET = here().deployment_of("verify-batch")


@pytest.fixture
async def deployed(prefect_server: LocalServer) -> None:
    """Deployment verify-batch, without anybody who runs it, and without runs."""
    await _deploy()


async def _deploy() -> None:
    async with get_client() as client:
        for run in await _runs():
            await client.delete_flow_run(run.id)
        with suppress(ObjectNotFound):
            await client.delete_deployment((await client.read_deployment_by_name(_TARGET)).id)
    for deployment in await served_deployments(15):
        if deployment.name == "verify-batch":
            await deployment.aapply()


@flow
async def _dispatch(*batches: BatchTitle) -> None:
    await dispatch.start_on_workers(list(batches))


async def _runs() -> list[FlowRun]:
    async with get_client() as client:
        return await client.read_flow_runs(
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=["verify-batch"]))
        )


@pytest.mark.usefixtures("deployed")
async def test_a_batch_has_one_run_however_often_it_is_dispatched() -> None:
    """A second tick, or a batch that ends meanwhile, starts nothing twice; another attempt is another run."""
    await _dispatch(_BATCH)
    await _dispatch(_BATCH)
    (run,) = await _runs()
    assert (run.name, run.parameters) == ("batch 9000001: 50 contacts of request 3", {"batch_id": 9_000_001})
    await _dispatch(BatchTitle(_BATCH.id, 50, 3, 100, runs=1))
    assert len(await _runs()) == 2


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("state", [Pending(), Running()])
async def test_a_run_whose_worker_died_before_it_took_the_batch_is_replaced(
    state: State[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a run never ends by itself; without another one its batch would wait for ever. A new one is waited for."""
    await _dispatch(_BATCH)
    (first,) = await _runs()
    async with get_client() as client:
        await client.set_flow_run_state(first.id, state, force=True)
    await _dispatch(_BATCH)
    assert len(await _runs()) == 1
    monkeypatch.setattr(dispatch, "START_PATIENCE", timedelta(0))
    await _dispatch(_BATCH)
    await _dispatch(_BATCH)
    second, *others = [run for run in await _runs() if run.id != first.id]
    assert others == []
    assert second.parameters == first.parameters


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("runs", [0, 1])
async def test_cancelling_a_run_ends_the_work_on_its_batch(runs: int, caplog: pytest.LogCaptureFixture) -> None:
    """A new run of the batch began 20 s after somebody had cancelled one, before or after it had taken the batch."""
    batch = replace(_BATCH, runs=runs, state=BatchState.RUNNING_AT_BOUNCER)
    await _dispatch(_BATCH)
    (cancelled,) = await _runs()
    async with get_client() as client:
        await client.set_flow_run_state(cancelled.id, Cancelled(), force=True)
        await _dispatch(batch)
        assert [run.id for run in await _runs()] == [cancelled.id]
        assert "Bouncer has it, or may have it, and it may be paid for; retry that run to go on" in caplog.text
        # Somebody retries it, and its worker dies: from now on others go on with the batch again.
        await client.set_flow_run_state(cancelled.id, Crashed(), force=True)
        await _dispatch(batch)
        assert len(await _runs()) == 2


@on_sqlite
async def test_several_accounts_have_as_many_runs_as_they_have_slots(set_up_account: SetUpAccount) -> None:
    """The deployment's limit is made for one account; with more slots it grows, and it never shrinks by itself."""
    await set_up_account(max_concurrent_batches=40)
    await _deploy()

    @flow
    async def make_places() -> None:
        async with open_access("default", "me") as access:
            await dispatch.make_places([access])

    async def limit() -> int | None:
        async with get_client() as client:
            found = (await client.read_deployment_by_name(_TARGET)).global_concurrency_limit
        return found and found.limit

    assert await limit() == 15
    await make_places()
    assert await limit() == 40
    account = cast("BouncerAccount", await BouncerAccount.aload("default"))
    await account.model_copy(update={"max_concurrent_batches": 2}).asave("default", overwrite=True)
    await make_places()
    assert await limit() == 40


async def test_a_missing_deployment_is_named(prefect_server: LocalServer) -> None:
    """Whoever starts ingest for workers before deploying is told what to run."""
    async with get_client() as client:
        for deployment in await client.read_deployments():
            await client.delete_deployment(deployment.id)
    with pytest.raises(SettingRefused, match="verify-batch/verify-batch does not exist; run bouncer-flows deploy"):
        await _dispatch(_BATCH)
