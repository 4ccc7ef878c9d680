"""A request that is complete says so once, and another deployment can be started by that."""

import asyncio
import csv
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from prefect import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.types.entrypoint import EntrypointType
from sqlalchemy import Engine, select

from bouncer.installation import here
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Request
from deployments.server.local_server import LocalServer
from deployments.setup.export_when_complete import export_when_complete
from flows.requests.export_request import export_request
from tasks.requests import completion
from tasks.running.events import REQUEST_COMPLETED
from tests.bouncer.contacts import set_back
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue
from tests.flows.runs import events, ingested, until_it_holds

_PROJECT = Path(__file__).parents[3]


async def _completions(request: int) -> list[dict[str, Any]]:
    found = await events(REQUEST_COMPLETED)
    return [event for event in found if event["resource"]["prefect.resource.id"] == f"bouncer-flows.request.{request}"]


def _row(engine: Engine, request: int) -> Any:
    return read(engine, lambda c: c.execute(select(Request.__table__).where(Request.request_id == request)).one())


async def test_a_complete_request_says_so_once(set_up_account: SetUpAccount) -> None:
    """One event tells of the request and how its contacts ended; more contacts open it again, and it tells again."""
    engine = await set_up_account()
    # The Prefect server is the same for all databases, and keeps what it was told.
    request = 10_000 + crc32(str(engine.url.database).encode()) % 1_000_000
    queue(engine, [*addresses(30), "no address"], request=request)
    await ingested()
    await ingested()

    @until_it_holds
    async def told(times: int) -> None:
        assert len(await _completions(request)) == times

    await told(1)
    (event,) = await _completions(request)
    assert event["payload"] == {
        "request_id": request,
        "name": f"request {request}",
        "done": 30,
        "failed": 1,
        "cancelled": 0,
    }
    row = _row(engine, request)
    assert (row.bouncer_queued, row.bouncer_in_flight, row.bouncer_done, row.bouncer_failed) == (0, 0, 30, 1)
    assert row.bouncer_completed_ts is not None
    assert row.bouncer_announced_ts is not None

    set_back(engine, Request.bouncer_completed_ts, 60)
    queue(engine, addresses(5, prefix="later"), request=request)
    await ingested()
    await told(2)
    assert (await _completions(request))[0]["payload"]["done"] == 35


@on_sqlite
async def test_a_completion_that_could_not_be_told_is_told_later(
    set_up_account: SetUpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a process dies before it has told, the next ingest does; told twice, it is still one event."""
    engine = await set_up_account()
    queue(engine, addresses(3), request=7003)

    async def die(*_: object) -> None:
        """Tells nobody, as a killed process."""

    with monkeypatch.context() as patch:
        patch.setattr(completion, "_announce", die)
        await ingested()
    row = _row(engine, 7003)
    assert (row.bouncer_completed_ts is None, row.bouncer_announced_ts) == (False, None)
    assert await _completions(7003) == []
    set_back(engine, Request.bouncer_completed_ts, 60)
    for _ in range(2):
        await ingested()
        write(engine, lambda c: c.exec_driver_sql("UPDATE Requests SET bouncer_announced_ts = NULL"))

    @until_it_holds
    async def told_once() -> None:
        assert len(await _completions(7003)) == 1

    await told_once()


@pytest.fixture
async def _made_by_hand(prefect_server: LocalServer) -> AsyncIterator[None]:
    yield
    # Setup would take what is left of it for another project's.
    async with get_client() as client:
        with suppress(ObjectNotFound):
            await client.delete_deployment(
                (await client.read_deployment_by_name(here().deployment_of("export-request"))).id
            )
        for automation in await client.read_automations_by_name("bouncer-flows: export complete requests"):
            await client.delete_automation(automation.id)


@on_sqlite
@pytest.mark.usefixtures("_made_by_hand")
async def test_another_deployment_is_started_by_it(set_up_account: SetUpAccount, tmp_path: Path) -> None:
    """The example of the README: a complete request's verdicts are in its CSV file, without anybody asking."""
    engine = await set_up_account()
    deployment = await export_request.ato_deployment(
        "export-request", parameters={"folder": str(tmp_path / "exports")}, entrypoint_type=EntrypointType.MODULE_PATH
    )
    deployment_id = await deployment.aapply()
    assert f"{deployment.flow_name}/{deployment.name}" == here().deployment_of("export-request")
    assert await export_when_complete() == ["automation 'bouncer-flows: export complete requests' made"]
    assert await export_when_complete() == []
    queue(engine, addresses(40), request=7004)
    await ingested()

    @until_it_holds
    async def started() -> FlowRun:
        of_deployment = DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id]))
        async with get_client() as client:
            runs = await client.read_flow_runs(deployment_filter=of_deployment)
        # Where it was not started, these say why.
        assert len(runs) == 1, [
            (event["event"], event["payload"].get("reason")) for event in await events("prefect.automation.")
        ]
        return runs[0]

    run = await started()
    assert run.parameters["request_id"] == 7004
    # What a worker does with it.
    execute = [sys.executable, "-m", "prefect", "flow-run", "execute", str(run.id)]
    await asyncio.to_thread(subprocess.run, execute, cwd=_PROJECT, capture_output=True, timeout=120, check=True)
    with (tmp_path / "exports" / "request-7004.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert {row["email"] for row in rows} == set(addresses(40))
    assert {row["outcome"] for row in rows} == {"completed"}
