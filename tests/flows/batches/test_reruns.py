"""Crashed runs that are retried as by ``prefect flow-run retry``: they go on where the batches are, and pay once."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from prefect import Flow, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterStartTime,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.sorting import FlowRunSort
from prefect.flow_engine import run_flow_async
from prefect.states import Scheduled

from bouncer.queue import claiming
from bouncer.storage.engine import write
from bouncer.verdicts.freshness import FreshFor
from flows.ingest import ingest
from flows.verify_batch import verify_batch
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, assert_verified_once, queue, statuses
from tests.flows.runs import until_it_holds
from tests.sandbox_process import SandboxHandle

pytestmark = on_sqlite


async def _latest_run(flow: str) -> FlowRun:
    of_flow = FlowFilter(name=FlowFilterName(any_=[flow]))
    # Not one that a schedule has made for later.
    started = FlowRunFilter(start_time=FlowRunFilterStartTime(is_null_=False))
    async with get_client() as client:
        (run,) = await client.read_flow_runs(
            flow_filter=of_flow, flow_run_filter=started, sort=FlowRunSort.START_TIME_DESC, limit=1
        )
    return run


async def _crash(running: Coroutine[Any, Any, object], flow: str, sandbox: SandboxHandle) -> UUID:
    """Ends a run from outside once its batches are at Bouncer, and returns its id."""
    task = asyncio.ensure_future(running)

    @until_it_holds
    async def in_flight() -> None:
        assert sandbox.ledger()["in_flight_now"] > 0
        assert sandbox.ledger()["requests_by_operation"].get("status", 0) > 0

    await in_flight()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    run = await _latest_run(flow)
    assert run.state is not None
    assert run.state.is_crashed()
    return run.id


async def _retry(flow: "Flow[..., Any]", run_id: UUID) -> State[Any]:
    """Does what the command does with a run that no worker takes."""
    async with get_client() as client:
        await client.set_flow_run_state(run_id, Scheduled(message="Retried via CLI"), force=True)
        run = await client.read_flow_run(run_id)
    state: State[Any] = await run_flow_async(
        flow, flow_run=run, parameters=flow.validate_parameters(run.parameters), return_type="state"
    )
    return state


@pytest.mark.mainline
async def test_a_crashed_batch_that_is_retried_goes_on_at_bouncer(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """The batch that Bouncer has is polled and loaded, not sent again."""
    engine = await set_up_account()
    queue(engine, addresses(20))
    claimed = write(engine, claiming.claim, "default", batches=1, batch_size=100, fresh_for=FreshFor(days=90))
    sandbox.post("/_sandbox/settings", {"fixed_seconds": 3})
    run = await _crash(verify_batch(claimed.batches[0].id), "verify-batch", sandbox)
    assert statuses(engine) == {"assigned": 20}
    state = await _retry(verify_batch, run)
    assert (state.is_completed(), state.message) == (True, "20 contacts settled, 0 requeued")
    assert_verified_once(engine, sandbox, contacts=20)


@pytest.mark.timeout(300)
async def test_a_crashed_ingest_that_is_retried_finishes_the_work(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Its batches go on where they were, whichever subflow had them before, and what waited is verified too."""
    engine = await set_up_account(batch_size=10, max_concurrent_batches=2)
    queue(engine, addresses(50))
    sandbox.post("/_sandbox/settings", {"fixed_seconds": 1.5})
    run = await _crash(ingest(), "ingest", sandbox)
    assert statuses(engine)["completed"] < 50
    state = await _retry(ingest, run)
    summary = await state.aresult()
    assert (summary.outcome, summary.left) == ("drained", 0)
    assert_verified_once(engine, sandbox, contacts=50)
