"""``dispatch`` starts runs for workers: urgent contacts first, users alike, slots refilled at once."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.objects import State, WorkQueue
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.context import FlowRunContext
from prefect.types._datetime import now
from sqlalchemy import Connection, func, select, text

from bouncer.accounts import state as account_state
from bouncer.batches.batches_in_flight import SLOWEST_SECONDS_AN_ADDRESS
from bouncer.installation import here
from bouncer.stopping import ask_to_stop, forget_stop
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch
from deployments.server.local_server import LocalServer
from deployments.setup.work_pool import ensure_work_pool
from flows.dispatch import dispatch
from flows.verify_batch import verify_batch
from tasks.queue.dispatch_summary import DispatchSummary
from tests.bouncer.storage.existing_tables import on_mariadb, on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue, statuses
from tests.flows.runs import text_of_artifact, until_it_holds
from tests.prefect_server import WORK_POOL, served_deployments
from tests.sandbox_process import SandboxHandle, running_sandbox

_SLOTS = 15
_AHEAD = 5


@pytest.fixture
async def on_workers(prefect_server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Deployment verify-batch in the work pool; runs in this process act as if a worker had started them."""
    async with get_client() as client:
        await ensure_work_pool(client, WORK_POOL)
        for served in await served_deployments(_SLOTS):
            if served.name == "verify-batch":
                served.work_pool_name, served.work_queue_name = WORK_POOL, "normal"
                id_ = await served.aapply()

        def own_deployment() -> UUID | None:
            context = FlowRunContext.get()
            return id_ if context and context.flow_run and context.flow_run.parent_task_run_id is None else None

        monkeypatch.setattr("tasks.queue.dispatch.own_deployment", own_deployment)
        yield
        await client.delete_deployment(id_)


async def _tick() -> DispatchSummary:
    return await dispatch()


async def _next_runs() -> list[WorkerFlowRunResponse]:
    """The runs of batches that wait for a worker, in the order in which one is given them."""
    async with get_client() as client:
        deployment = await client.read_deployment_by_name(here().deployment_of("verify-batch"))
        runs = await client.get_scheduled_flow_runs_for_work_pool(WORK_POOL, scheduled_before=now("UTC"))
    # Deployments that other tests have made on this server may have schedules.
    return [run for run in runs if run.flow_run.deployment_id == deployment.id]


async def _queue_names() -> dict[object, str]:
    async with get_client() as client:
        queues: list[WorkQueue] = await client.read_work_queues(work_pool_name=WORK_POOL)
    return {queue.id: queue.name for queue in queues}


async def _work_on(run: WorkerFlowRunResponse) -> State[None]:
    """Does what a worker does with a run, but in this process."""
    async with get_client() as client:
        await client.delete_flow_run(run.flow_run.id)
    return cast("State[None]", await verify_batch(run.flow_run.parameters["batch_id"], return_state=True))


def _queue_many(connection: Connection, contacts: int, request: int) -> None:
    connection.execute(text("INSERT INTO Users (id, email) VALUES (1, 'owner@example.com')"))
    connection.execute(
        text("INSERT INTO Requests (request_id, user_id, name) VALUES (:it, 1, 'large')"), {"it": request}
    )
    connection.execute(
        text(
            "INSERT INTO Contacts_Global (email)"
            " SELECT CONCAT('large.', seq, '@company', seq MOD 997, '.example') FROM seq_1_to_1000000 LIMIT :most"
        ),
        {"most": contacts},
    )
    connection.execute(
        text(
            "INSERT INTO Bouncer_Queue (global_id, user_id, request_id, priority)"
            " SELECT global_id, 1, :it, 50 FROM Contacts_Global"
        ),
        {"it": request},
    )


@on_mariadb
@pytest.mark.usefixtures("on_workers")
async def test_an_urgent_request_overtakes_half_a_million_contacts(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """All slots are taken and more is ready; an urgent request is next in line within one tick, and done first."""
    engine = await set_up_account(batch_size=50, max_concurrent_batches=_SLOTS)
    write(engine, _queue_many, 500_000, 1)
    sandbox.post("/_sandbox/settings", {"fixed_seconds": 600, "parallel": 2 * _SLOTS})
    assert (await _tick()).outcome == "dispatched"
    first = await _next_runs()
    assert len(first) == _SLOTS + _AHEAD
    working = [asyncio.create_task(_work_on(run)) for run in first[:_SLOTS]]
    await _until_in_flight(sandbox, _SLOTS)

    queue(engine, addresses(100, prefix="urgent"), request=2, priority=100)
    await _tick()
    line, names = await _next_runs(), await _queue_names()
    assert [run.flow_run.name.partition(": ")[2] for run in line] == [
        *["50 contacts of request 2"] * 2,
        *["50 contacts of request 1"] * _AHEAD,
    ]
    assert [names[run.work_queue_id] for run in line] == ["critical"] * 2 + ["normal"] * _AHEAD

    sandbox.post("/_sandbox/settings", {"fixed_seconds": 0.1})
    _complete(sandbox, 2)
    await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.gather(*(_work_on(run) for run in line[:2]))
    assert statuses(engine, request=2) == {"completed": 100}
    assert statuses(engine, request=1)["queued"] > 498_000
    # What came free was refilled by the batches themselves: no tick was run since.
    assert read(engine, _under_way) >= _SLOTS + _AHEAD
    assert len(await _next_runs()) > _AHEAD

    _complete(sandbox, _SLOTS)
    await asyncio.gather(*working)


@on_sqlite
@pytest.mark.usefixtures("on_workers")
async def test_a_tick_while_paused_is_no_failure(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """The run of every minute ends well and says why nothing is sent: sixty failures an hour would alert somebody."""
    engine = await set_up_account()
    queue(engine, addresses(10))
    write(engine, account_state.pause, "default", by="ann@desk", reason="the list is wrong")
    summary = await _tick()
    assert (summary.outcome, summary.contacts) == ("dispatched", 0)
    assert "paused by ann@desk: the list is wrong" in summary.message
    assert statuses(engine) == {"queued": 10}
    assert "create" not in sandbox.ledger()["requests_by_operation"]


@on_sqlite
@pytest.mark.usefixtures("on_workers")
@pytest.mark.scenario
async def test_two_users_of_one_priority_share_the_slots(set_up_account: SetUpAccount) -> None:
    """However much the first has queued, and however early, each gets half of the places in one tick."""
    engine = await set_up_account(batch_size=10, max_concurrent_batches=_SLOTS)
    queue(engine, addresses(2_000, prefix="early"), request=1)
    queue(engine, addresses(300, prefix="late"), request=2)
    write(engine, _give_away, 2)
    await _tick()
    assert read(engine, _batches_by_user) == {1: 10, 2: 10}
    assert len(await _next_runs()) == _SLOTS + _AHEAD


@on_sqlite
@pytest.mark.usefixtures("on_workers")
async def test_what_came_of_a_request_is_told_once_workers_have_completed_it(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """A tick knows no verdicts and no pace, and pretended to; the artifact of the request has them, and its cost."""
    engine = await set_up_account(batch_size=20)
    queue(engine, [*addresses(40), "no address"], request=5)
    await _tick()
    tick = await text_of_artifact("dispatch-summary")
    assert "| contacts claimed | 41 |" in tick
    assert "| batches started | 2 |" in tick
    assert not [claim for claim in ("a minute", "| verdict |", "| seconds |", "credits used") if claim in tick]
    for run in await _next_runs():
        await _work_on(run)
    told = await text_of_artifact("request-5")
    assert told.startswith("## Request 5 (request 5) is complete: 40 contacts have a verdict, 1 failed\n")
    assert "| deliverable |" in told
    assert "| batches | 2 |" in told
    assert f"| credits used | {sandbox.ledger()['credits_charged']} |" in told
    assert "| from the first batch to the last verdict |" in told
    assert "| contacts verified a minute |" in told


@on_sqlite
@pytest.mark.usefixtures("on_workers")
async def test_small_requests_without_end_do_not_keep_batches_from_starting(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick verified in real time for as long as small requests came; its time over, it starts batches of them too."""
    engine = await set_up_account(batch_size=50, realtime_max_addresses=5)
    for request in (1, 2):
        queue(engine, addresses(3, prefix=f"small.{request}"), request=request)
    queue(engine, addresses(50, prefix="large"), request=3)
    monkeypatch.setattr("flows.dispatch.REALTIME_SECONDS", 0.0)
    await _tick()
    assert {run.flow_run.name.partition(": ")[2] for run in await _next_runs()} == {
        "3 contacts of request 1",
        "3 contacts of request 2",
        "50 contacts of request 3",
    }
    assert "verify" not in sandbox.ledger()["requests_by_operation"]


@on_sqlite
@pytest.mark.usefixtures("on_workers")
@pytest.mark.scenario
async def test_the_halves_of_a_refused_batch_start_at_once(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Finding one bad address takes a dozen rounds; it took as many minutes when each waited for the next tick."""
    engine = await set_up_account(batch_size=10, max_credits_per_run=1_000)
    queue(engine, addresses(10))
    await _tick()
    (run,) = await _next_runs()
    sandbox.fault("status", operation="create", code=400, message="malformed body")
    assert (await _work_on(run)).name == "Split"
    halves = await _next_runs()
    assert [half.flow_run.name for half in halves] == [f"batch {n}: 5 contacts of request 1" for n in (2, 3)]
    for half in halves:
        await _work_on(half)
    assert statuses(engine) == {"completed": 10}


@on_sqlite
@pytest.mark.usefixtures("on_workers")
@pytest.mark.parametrize(
    ("operation", "code", "ends"), [("status", 404, "Lost"), ("create", 400, "Failed")], ids=["lost", "failed"]
)
async def test_a_place_is_refilled_at_once_however_its_batch_ended(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, operation: str, code: int, ends: str
) -> None:
    """A batch that was lost, or failed for good, left its place empty until the next minute."""
    engine = await set_up_account(batch_size=1, max_concurrent_batches=1)
    queue(engine, addresses(10))
    await _tick()
    first, second = await _next_runs()
    sandbox.fault("status", operation=operation, code=code, times=None)
    assert (await _work_on(first)).name == ends
    again, third = await _next_runs()
    assert (again.flow_run.id, third.flow_run.name) == (second.flow_run.id, "batch 3: 1 contact of request 1")


@on_sqlite
@pytest.mark.usefixtures("on_workers")
@pytest.mark.scenario
async def test_workers_have_all_places_of_a_new_account_as_soon_as_bouncer_has_begun(
    set_up_account: SetUpAccount,
) -> None:
    """Three batches may be queued before it is known how they run; the others waited for the next tick."""
    with running_sandbox(fixed_seconds=3_600, parallel=9) as bouncer:
        engine = await set_up_account(
            bouncer_api_base_url=bouncer.url,
            bouncer_api_key=bouncer.key,
            batch_size=500,
            max_concurrent_batches=9,
            # By the slowest pace that Bouncer names, 18 s a batch, two batches ahead may be waited for.
            queue_ahead_minutes=2.5 * 500 * SLOWEST_SECONDS_AN_ADDRESS / 60,
            poll_seconds_min=2,
            poll_seconds_max=5,
        )
        queue(engine, addresses(4_500))
        await _tick()
        first, second, third, *ready = await _next_runs()
        assert len(ready) == 1
        working = [asyncio.create_task(_work_on(run)) for run in (first, second, third)]
        try:
            await _until_ready(4)
        finally:
            # At the pace of an hour a batch they would look again in minutes.
            ask_to_stop()
            await asyncio.gather(*working)
            forget_stop()


@until_it_holds
async def _until_ready(runs: int) -> None:
    assert len(await _next_runs()) >= runs


@until_it_holds
async def _until_in_flight(sandbox: SandboxHandle, batches: int) -> None:
    assert sandbox.ledger()["in_flight_now"] == batches


def _complete(sandbox: SandboxHandle, most: int) -> None:
    in_flight = [batch["id"] for batch in sandbox.batches() if batch["completed_at"] is None]
    for batch in in_flight[:most]:
        sandbox.post(f"/_sandbox/batches/{batch}/complete")


def _give_away(connection: Connection, request: int) -> None:
    connection.execute(text("INSERT INTO Users (id, email) VALUES (2, 'other@example.com')"))
    connection.execute(text("UPDATE Requests SET user_id = 2 WHERE request_id = :it"), {"it": request})
    connection.execute(text("UPDATE Bouncer_Queue SET user_id = 2 WHERE request_id = :it"), {"it": request})


def _batches_by_user(connection: Connection) -> dict[int, int]:
    rows = connection.execute(select(Batch.user_id, func.count()).group_by(Batch.user_id))
    return {row[0]: row[1] for row in rows}


def _under_way(connection: Connection) -> int:
    return connection.scalar(select(func.count()).where(Batch.status.in_(["queued", "processing"]))) or 0
