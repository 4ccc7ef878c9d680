"""The watch on the queue: work starts flows at once, and nothing starts none."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun
from prefect.states import Scheduled

from bouncer.monitoring.signs_of_work import SignsOfWork, signs_of_work
from bouncer.storage.engine import read
from deployments.serving.upcoming_runs import name_upcoming_runs
from deployments.serving.watch import AGAIN_SECONDS, Watch, watch_queue
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue
from tests.flows.runs import ingested, until_it_holds
from tests.prefect_server import served_deployments

_THEN = datetime(2034, 12, 1, 6, 10, tzinfo=UTC)
_NOTHING = SignsOfWork(newest=40, is_open=False, is_alarmed=False)
_WORK = SignsOfWork(newest=41, is_open=True, is_alarmed=False)


def test_nothing_starts_no_flow() -> None:
    """An idle installation ran 120 ticks an hour, each a process of its own."""
    watch = Watch()
    assert [watch.due(_NOTHING, now) for now in range(0, 7200, 5)] == [[]] * 1440


def test_new_contacts_are_not_kept_waiting() -> None:
    """Queued contacts start dispatch at the next look, and again every minute while they wait; so do checks, later."""
    watch = Watch()
    assert watch.due(_WORK, 0) == ["dispatch"]
    watch.began("dispatch", _WORK, 0)
    assert watch.due(_WORK, 1) == []
    more = SignsOfWork(newest=42, is_open=True, is_alarmed=False)
    assert watch.due(more, 2) == ["dispatch"]
    # The last one is still at work: it is tried again until one has begun.
    assert watch.due(more, 3) == ["dispatch"]
    watch.began("dispatch", more, 3)
    assert watch.due(more, 4) == []
    assert watch.due(more, 15) == ["check-health"]
    watch.began("check-health", more, 15)
    assert watch.due(more, AGAIN_SECONDS) == []
    assert watch.due(more, AGAIN_SECONDS + 3) == ["dispatch"]
    assert watch.due(more, AGAIN_SECONDS + 15) == ["dispatch", "check-health"]


def test_requeued_contacts_are_not_kept_waiting() -> None:
    """They have no new rows in the queue, and waited for the rest of the minute after the run that had failed them."""
    watch = Watch()
    watch.due(_WORK, 0)
    watch.began("dispatch", _WORK, 0)
    assert watch.due(replace(_WORK, is_open=False), 10) == []
    assert watch.due(_WORK, 11) == ["dispatch"]


def test_an_alert_is_followed_to_its_end() -> None:
    """Somebody is alerted of the end as of the beginning, also where no contact waits."""
    assert Watch().due(SignsOfWork(newest=0, is_open=False, is_alarmed=True), 0) == ["check-health"]


@on_sqlite
async def test_contacts_that_an_application_queues_start_dispatch(
    set_up_account: SetUpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run has the tags that people filter by and a name that says why; one whose schedule is off is not started."""
    engine = await set_up_account()
    for deployment in await served_deployments(15):
        if deployment.name in {"dispatch", "check-health"}:
            await deployment.aapply()
    assert read(engine, signs_of_work).is_open is False
    taken_up: list[set[str]] = []

    async def take_up() -> None:
        taken_up.append({run.name for run in await _ticks() if run.id not in before})

    watching = asyncio.create_task(watch_queue(engine, 0.1, take_up))
    try:
        async with get_client() as client:
            before = {run.id for run in await _ticks()}
            check = await client.read_deployment_by_name("check-health/check-health")
            (schedule,) = check.schedules
            await client.update_deployment_schedule(check.id, schedule.id, active=False)
            queue(engine, addresses(10))

            @until_it_holds
            async def started() -> None:
                new = [run for run in await _ticks() if run.id not in before]
                assert [run.name for run in new] == ["dispatch: work waits"]
                assert {"installation:bouncer", "tick"} <= set(new[0].tags)
                # Asked for at once, and not when serve asks by itself, nor before, while nothing waited.
                assert taken_up[:1] == [{"dispatch: work waits"}]

            await started()
    finally:
        watching.cancel()
        await _delete_deployments()
    await ingested()
    signs = read(engine, signs_of_work)
    assert (signs.newest, signs.is_open) == (10, False)


@on_sqlite
async def test_a_watch_without_deployments_says_so_once(
    set_up_account: SetUpAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    """After an uninstall contacts waited beside a watch that said nothing."""
    engine = await set_up_account()
    queue(engine, addresses(1))
    watching = asyncio.create_task(watch_queue(engine, seconds=0.05))
    said = ""
    try:
        async with asyncio.timeout(60):
            while "run bouncer-flows deploy" not in said:
                await asyncio.sleep(0.05)
                said += capsys.readouterr().err
    finally:
        watching.cancel()
    assert said.count("their deployment is not on the Prefect server") == 1


@on_sqlite
async def test_upcoming_runs_have_names_that_say_what_they_are(set_up_account: SetUpAccount) -> None:
    """The list of upcoming runs showed pairs of random words."""
    await set_up_account()
    (checks,) = [deployment for deployment in await served_deployments(15) if deployment.name == "check-health"]
    # By its schedule the server would make some between the looks.
    checks.schedules = []
    deployment = await checks.aapply()
    async with get_client() as client:
        # As the server's scheduler makes them.
        run = await client.create_flow_run_from_deployment(
            deployment, tags=["installation:bouncer", "auto-scheduled"], state=Scheduled(scheduled_time=_THEN)
        )
        assert await name_upcoming_runs(client) >= 1
        assert (await client.read_flow_run(run.id)).name == "check-health, 01 Dec 06:10 UTC"
        assert await name_upcoming_runs(client) == 0
    await _delete_deployments()


async def _ticks() -> list[FlowRun]:
    async with get_client() as client:
        ticks = FlowRunFilter(tags=FlowRunFilterTags(all_=["tick"]))
        return [run for run in await client.read_flow_runs(flow_run_filter=ticks) if "auto-scheduled" not in run.tags]


async def _delete_deployments() -> None:
    async with get_client() as client:
        for deployment in await client.read_deployments():
            await client.delete_deployment(deployment.id)
