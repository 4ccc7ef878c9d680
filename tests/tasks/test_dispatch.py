"""Starting batches on workers: one run for each, and another only where the first will never take the batch."""

from datetime import timedelta

import pytest
from prefect import flow, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled, Pending, Running

from bouncer.batches import BatchTitle
from bouncer.errors import SettingRefused
from deployments.catalogue import served_deployments
from deployments.local_server import LocalServer
from tasks import dispatch

_BATCH = BatchTitle(9_000_001, 50, 3, 100)


@pytest.fixture
async def deployed(prefect_server: LocalServer) -> None:
    """Deployment verify-batch, without anybody who runs it, and without runs."""
    for deployment in await served_deployments(15):
        if deployment.name == "verify-batch":
            await deployment.aapply()
    async with get_client() as client:
        for run in await _runs():
            await client.delete_flow_run(run.id)


@flow
async def _dispatch(*batches: BatchTitle) -> None:
    await dispatch.dispatch(list(batches))


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
async def test_a_run_that_was_cancelled_before_it_began_is_replaced() -> None:
    """Cancelling a run by hand does not strand its batch."""
    await _dispatch(_BATCH)
    (first,) = await _runs()
    async with get_client() as client:
        await client.set_flow_run_state(first.id, Cancelled(), force=True)
    await _dispatch(_BATCH)
    assert len(await _runs()) == 2


async def test_a_missing_deployment_is_named(prefect_server: LocalServer) -> None:
    """Whoever starts ingest for workers before deploying is told what to run."""
    async with get_client() as client:
        for deployment in await client.read_deployments():
            await client.delete_deployment(deployment.id)
    with pytest.raises(SettingRefused, match="deployment verify-batch/verify-batch does not exist; run prefect deploy"):
        await _dispatch(_BATCH)
