"""The deployments: `prefect deploy --all` makes them as they stand, and `serve` runs the same ones."""

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from prefect import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.server.schemas.schedules import CronSchedule as ServerCronSchedule
from prefect.states import Completed, Pending
from prefect.types.entrypoint import EntrypointType

from bouncer.installation import here
from deployments.server.local_server import LocalServer
from deployments.setup.deployments_from_yaml import pause_until_served, retire_former_deployments
from deployments.setup.work_pool import ensure_work_pool
from flows.ingest import ingest
from tasks.queue.dispatch import QUEUES
from tests.prefect_server import WORK_POOL, served_deployments

pytestmark = pytest.mark.scenario

_PROJECT = Path(__file__).resolve().parents[3]


def _written() -> dict[str, dict[str, Any]]:
    """The deployments of prefect.yaml by their names."""
    content = yaml.safe_load((_PROJECT / "prefect.yaml").read_text())
    return {deployment["name"]: deployment for deployment in content["deployments"]}


@pytest.fixture(scope="module")
def deployed(prefect_server: LocalServer) -> None:
    """Every deployment, made by Prefect's own command as the README says."""
    _deploy_all()


@pytest.fixture
def deployed_now(prefect_server: LocalServer) -> None:
    """The same, whatever tests on the same server have taken away meanwhile."""
    _deploy_all()


def _deploy_all() -> None:
    asyncio.run(_make_work_pool())
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=_PROJECT,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def _make_work_pool() -> None:
    async with get_client() as client:
        await ensure_work_pool(client, WORK_POOL)


def _flow_name(deployment: str) -> str:
    """The name of the flow that a deployment of prefect.yaml runs."""
    function = str(_written()[deployment]["entrypoint"]).rpartition(".")[2]
    return function.replace("_", "-")


async def _found(name: str) -> DeploymentResponse:
    async with get_client() as client:
        return await client.read_deployment_by_name(f"{_flow_name(name)}/{name}")


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("name", _written())
async def test_it_is_deployed_as_it_stands(name: str) -> None:
    """Each is in a queue of the work pool, has a description and a tag, and says what each of its parameters is."""
    deployment = await _found(name)
    assert (deployment.work_pool_name, deployment.work_queue_name) == (WORK_POOL, deployment.work_queue_name)
    assert deployment.work_queue_name in QUEUES.values()
    assert deployment.description
    assert deployment.description.strip().endswith(".")
    assert "installation:bouncer" in deployment.tags
    assert ("bouncer-flows" in deployment.tags) != ("tick" in deployment.tags)
    assert deployment.enforce_parameter_schema
    # No folder of the machine that deployed: workers on other machines do not have it.
    assert not deployment.pull_steps
    assert str(_PROJECT) not in deployment.model_dump_json()
    schema = deployment.parameter_openapi_schema or {}
    of_types = {f"#/definitions/{type_}": its for type_, its in schema.get("definitions", {}).items()}
    undescribed = [
        name
        for name, field in schema["properties"].items()
        if not (field.get("description") or of_types.get(field.get("$ref"), {}).get("description"))
    ]
    assert undescribed == []
    assert set(deployment.parameters) <= set(schema["properties"])


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("name", _written())
async def test_its_numbers_have_bounds(name: str) -> None:
    """What makes no sense is refused by the form, before a run is started."""
    schema = (await _found(name)).parameter_openapi_schema or {}
    definitions = schema.get("definitions", {})
    fields = {**schema["properties"]}
    for definition in definitions.values():
        fields |= definition.get("properties", {})
    unbounded = [
        field
        for field, its in fields.items()
        for kind in its.get("anyOf", [its])
        if kind.get("type") in {"integer", "number"}
        and not {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "enum"} & set(kind)
    ]
    assert unbounded == []


@pytest.mark.usefixtures("deployed")
async def test_serve_runs_the_same_deployments() -> None:
    """One machine and many machines have the same flows, with the same names, schedules, parameters and limits."""
    served = {deployment.name: deployment for deployment in await served_deployments(15)}
    assert set(served) == set(_written())
    for name, deployment in served.items():
        on_workers = await _found(name)
        assert deployment.flow_name == _flow_name(name)
        assert deployment.entrypoint == on_workers.entrypoint
        assert (deployment.description, deployment.tags) == (on_workers.description, on_workers.tags)
        assert (deployment.parameters or {}) == on_workers.parameters
        assert [(schedule.schedule, schedule.active) for schedule in deployment.schedules or []] == [
            (schedule.schedule, schedule.active) for schedule in on_workers.schedules
        ]
        limit = on_workers.global_concurrency_limit
        assert deployment.concurrency_limit == (limit and limit.limit)
        assert deployment.concurrency_options == on_workers.concurrency_options


async def test_thresholds_that_were_set_in_the_ui_outlive_serve(prefect_server: LocalServer) -> None:
    """What prefect.yaml does not name is a person's to set; only what the flow does not know any more goes."""
    checks, started = [await _applied(name) for name in ("check-health", "ingest")]
    async with get_client() as client:
        set_in_the_ui = {"thresholds": {"backlog_contacts": 5}, "of_an_older_version": 1}
        # As the server has it after an upgrade: it was written when the flow still had that parameter.
        await client.update_deployment(
            checks, DeploymentUpdate(parameters=set_in_the_ui, enforce_parameter_schema=False)
        )
        await client.update_deployment(started, DeploymentUpdate(parameters={"max_credits": 7}))
    for name in ("check-health", "ingest"):
        await _applied(name)
    assert (await _found("check-health")).parameters == {"thresholds": {"backlog_contacts": 5}}
    assert (await _found("ingest")).parameters == {"max_credits": 7}
    async with get_client() as client:
        for deployment in (checks, started):
            await client.delete_deployment(deployment)


async def _applied(name: str) -> UUID:
    (served,) = [deployment for deployment in await served_deployments(15) if deployment.name == name]
    return await served.aapply()


async def test_as_many_batches_are_served_as_the_account_may_have(prefect_server: LocalServer) -> None:
    """The limit of verify-batch is the setting's on one machine; the others keep their own."""
    limits = {deployment.name: deployment.concurrency_limit for deployment in await served_deployments(3)}
    assert (limits["verify-batch"], limits["dispatch"], limits["ingest"]) == (3, 1, None)


@pytest.mark.usefixtures("deployed_now")
async def test_a_run_from_the_form_is_not_cancelled_by_a_tick() -> None:
    """Ticks never overlap; whoever wants a request verified right now need not hit the moment between two of them."""
    async with get_client() as client:
        tick, another, own = [
            await client.create_flow_run_from_deployment((await _found(name)).id)
            for name in ("dispatch", "dispatch", "ingest")
        ]
        states = [await client.set_flow_run_state(run.id, Pending()) for run in (tick, another, own)]
        assert [result.state and result.state.name for result in states] == ["Pending", "Cancelled", "Pending"]
        for run in (tick, own):
            await client.set_flow_run_state(run.id, Completed(), force=True)


async def test_what_people_set_in_the_ui_outlives_serve(prefect_server: LocalServer) -> None:
    """A schedule that somebody stopped or changed was as before after the next start; a pause was lifted."""
    await _applied("housekeeping")
    await _applied("check-health")
    async with get_client() as client:
        kept, paused = await _found("housekeeping"), await _found("check-health")
        (schedule,) = kept.schedules
        await client.update_deployment_schedule(kept.id, schedule.id, active=False)
        await client.pause_deployment(paused.id)
        for name in ("housekeeping", "check-health"):
            await _applied(name)
        (schedule,) = (await _found("housekeeping")).schedules
        assert schedule.active is False
        assert (await _found("check-health")).paused
        # The end of serve pauses the others, and its next start lets just these go on.
        await pause_until_served(client)
        assert (await _found("housekeeping")).paused
        for name in ("housekeeping", "check-health"):
            await _applied(name)
        assert not (await _found("housekeeping")).paused
        assert (await _found("check-health")).paused
        for deployment in (kept, paused):
            await client.delete_deployment(deployment.id)


async def test_ticks_of_every_minute_are_renewed(prefect_server: LocalServer) -> None:
    """An installation from before the watch becomes quiet by its upgrade; a schedule of one's own stays."""
    dispatch, check = [await _applied(name) for name in ("dispatch", "check-health")]
    async with get_client() as client:
        for deployment, cron in ((dispatch, "* * * * *"), (check, "*/2 * * * *")):
            (schedule,) = (await client.read_deployment(deployment)).schedules
            await client.update_deployment_schedule(deployment, schedule.id, schedule=CronSchedule(cron=cron))
        for name in ("dispatch", "check-health"):
            await _applied(name)
        crons = [(await client.read_deployment(one)).schedules[0].schedule.cron for one in (dispatch, check)]
        assert crons == ["*/30 * * * *", "*/2 * * * *"]
        for one in (dispatch, check):
            await client.delete_deployment(one)


async def test_the_ticks_of_an_older_version_become_dispatch(prefect_server: LocalServer) -> None:
    """Deployment ingest ticked by a parameter; its schedule, changed by somebody, goes on as that of dispatch."""
    name = here().deployment("ingest")
    older = await ingest.ato_deployment(
        name,
        tags=list(here().tags),
        cron="*/7 * * * *",
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    asked = await ingest.ato_deployment(
        here().deployment("ingest-request"), tags=list(here().tags), entrypoint_type=EntrypointType.MODULE_PATH
    )
    async with get_client() as client:
        for there in ("dispatch", "ingest"):
            # Other tests on the same server may have made them.
            with suppress(ObjectNotFound):
                await client.delete_deployment((await _found(there)).id)
        before = await older.aapply()
        await asked.aapply()
        await client.update_deployment(
            before, DeploymentUpdate(parameters={"on_workers": True}, enforce_parameter_schema=False)
        )
        for served in await served_deployments(15):
            if served.name in {"dispatch", "ingest"}:
                await served.aapply()
        await retire_former_deployments(client)
        dispatch, now = await _found("dispatch"), await _found("ingest")
        assert [schedule.schedule.cron for schedule in dispatch.schedules] == ["*/7 * * * *"]
        assert (now.schedules, now.parameters, now.global_concurrency_limit) == ([], {}, None)
        with pytest.raises(ObjectNotFound):
            await client.read_deployment_by_name("ingest/ingest-request")
        for one in (dispatch, now):
            await client.delete_deployment(one.id)


@pytest.mark.parametrize("name", [name for name, written in _written().items() if written.get("schedules")])
async def test_prefects_scheduler_finds_its_dates(name: str) -> None:
    """With two releases of what Prefect is built on, its scheduler died at every schedule, and nobody was told."""
    for schedule in _written()[name]["schedules"]:
        cron = ServerCronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
        assert len(await cron.get_dates(3)) == 3
