"""A guest on a server that another project uses: what is theirs is the same after everything that we do."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

from blocks.contacts_database import engine_of
from blocks.run_tags import marked
from bouncer.errors import SettingRefused
from bouncer.installation import NAME_VARIABLE
from bouncer.upkeep.retention import Retention
from deployments.server.local_server import LocalServer
from deployments.serving.deploy import deploy_for_workers
from deployments.settings import Settings
from deployments.setup.set_up import set_up, set_up_pool
from deployments.uninstalling import uninstall, what_uninstall_deletes
from flows.check_health import check_health
from flows.dispatch import dispatch
from flows.housekeeping import housekeeping
from tasks.upkeep.forget_runs import forget_runs
from tests.contacts import addresses, queue
from tests.deployments.setup.foreign_project import found_a_foreign_project, snapshot
from tests.flows.runs import ingested
from tests.prefect_server import running_prefect_server, send_what_waits
from tests.sandbox_process import SandboxHandle


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    """A server with nothing of ours on it yet."""
    with running_prefect_server(tmp_path / "server") as running:
        yield running


def _settings(tmp_path: Path, sandbox: SandboxHandle, name: str) -> Settings:
    return Settings(
        database_url=f"sqlite:///{tmp_path / name}.db",
        bouncer_api_key=sandbox.key,
        bouncer_api_base_url=sandbox.url,
        poll_seconds_min=0.1,
        poll_seconds_max=0.2,
    )


def _of(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The things that were there before, as they are now."""
    return {kind: {id_: after[kind].get(id_) for id_ in things} for kind, things in before.items()}


async def _do_everything(settings: Settings) -> None:
    await set_up(settings)
    await set_up_pool(settings)
    await deploy_for_workers(settings)
    queue(engine_of(settings.url), addresses(30))
    await ingested()
    with marked():
        await check_health()
        await housekeeping()
    # As if a month had passed.
    await forget_runs(0)
    await set_up(settings)
    await asyncio.to_thread(send_what_waits)


@pytest.mark.parametrize("name", ["bouncer", "ours"])
async def test_what_is_theirs_stays_as_it_is(
    server: LocalServer, sandbox: SandboxHandle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Housekeeping deleted the runs of a foreign flow called forecast; nothing of others goes or changes."""
    monkeypatch.setenv(NAME_VARIABLE, name)
    await found_a_foreign_project(takes_unique_names=name != "bouncer")
    async with get_client() as client:
        before = await snapshot(client)
        await _do_everything(_settings(tmp_path, sandbox, name))
        amid = await snapshot(client)
        assert _of(before, amid) == before
        assert amid != before
        assert "14 deployments, " in await what_uninstall_deletes()
        await uninstall(name)
        assert await what_uninstall_deletes() == "0 automations, 0 deployments, 0 flow runs, 0 account blocks"
        after = await snapshot(client)
        assert _of(before, after) == before
        left = {kind: {id_: after[kind][id_] for id_ in after[kind].keys() - before[kind].keys()} for kind in after}
        assert {kind: things for kind, things in left.items() if things} == {}


async def test_names_that_others_have_are_not_taken_over(
    server: LocalServer, sandbox: SandboxHandle, tmp_path: Path
) -> None:
    """If a limit, a pool or a deployment has our name, the first setup says so in one line and changes nothing.

    A deploy after it put queues into the others' pool, and runs on schedules into these.
    """
    settings = _settings(tmp_path, sandbox, "bouncer")
    await found_a_foreign_project(takes_unique_names=True)
    async with get_client() as client:
        before = await snapshot(client)
        with pytest.raises(SettingRefused, match="limit bouncer-api is on this Prefect server already"):
            await set_up(settings)
        with pytest.raises(SettingRefused, match="bouncer is not on this Prefect server yet; run bouncer-flows setup"):
            await deploy_for_workers(settings)
        assert await snapshot(client) == before


async def test_two_installations_leave_each_other_alone(
    server: LocalServer, sandbox: SandboxHandle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Staging beside production: each pays with its own account, and staging comes and goes without a trace."""
    production, staging = (_settings(tmp_path, sandbox, name) for name in ("bouncer", "staging"))
    await _do_everything(production)
    async with get_client() as client:
        before = await snapshot(client)
        monkeypatch.setenv(NAME_VARIABLE, "staging")
        await _do_everything(staging)
        amid = await snapshot(client)
        assert _of(before, amid) == before
        # A worker whose pool is gone makes it anew.
        await client.send_worker_heartbeat("staging", "worker 1", heartbeat_interval_seconds=30)
        assert any("warning: 1 worker of work pool staging runs" in change for change in await uninstall("staging"))
        assert await snapshot(client) == before


@pytest.mark.thorough
@pytest.mark.timeout(900)
async def test_a_week_of_two_installations_beside_a_foreign_project(
    server: LocalServer, sandbox: SandboxHandle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven days of work, ticks, checks and housekeeping: each keeps three days of runs, and theirs are kept whole."""
    await found_a_foreign_project(takes_unique_names=False)
    installations = {name: _settings(tmp_path, sandbox, name) for name in ("ours", "staging")}
    async with get_client() as client:
        before = await snapshot(client)
        for name, settings in installations.items():
            monkeypatch.setenv(NAME_VARIABLE, name)
            await set_up(settings)
            await deploy_for_workers(settings)
        for day in range(7):
            for name, settings in installations.items():
                monkeypatch.setenv(NAME_VARIABLE, name)
                queue(engine_of(settings.url), addresses(3, prefix=f"day{day}"), request=1 + day)
                await ingested()
                with marked("tick"):
                    await dispatch()
                with marked():
                    await check_health()
                    await housekeeping(Retention(run_days=3))
                await asyncio.to_thread(send_what_waits)
            await asyncio.to_thread(_let_a_day_pass, tmp_path / "server")
        after = await snapshot(client)
        assert _of(before, after) == before
        for name in installations:
            tag = FlowRunFilterTags(all_=[f"installation:{name}"])
            runs = await client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=tag))
            ended = [run for run in runs if run.end_time is not None]
            assert {run.name for run in ended if run.name == "all requests"} == {"all requests"}
            # Three days and the one that has just passed.
            assert sum(run.name == "all requests" for run in ended) <= 4
            assert max((datetime.now(UTC) - run.end_time).days for run in ended if run.end_time) <= 4
        for name in installations:
            await uninstall(name)
        assert _of(before, await snapshot(client)) == before


def _let_a_day_pass(home: Path) -> None:
    # Moves everything that has ended a day into the past, in the server's own database.
    (database,) = home.rglob("*.db")
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        for column in ("start_time", "end_time", "expected_start_time"):
            connection.execute(
                f"UPDATE flow_run SET {column} = datetime({column}, '-1 day') WHERE end_time IS NOT NULL"
            )
        connection.commit()
