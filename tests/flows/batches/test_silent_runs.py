"""Runs that were killed together with who would tell: the automation says that they crashed, a retry ends them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from bouncer.storage.engine import engine_for
from deployments.server.local_server import LocalServer
from tests.contacts import addresses, assert_verified_once, queue, statuses
from tests.deployments.running_commands import Started, clean_environment
from tests.sandbox_process import SandboxHandle

pytestmark = [pytest.mark.audit, pytest.mark.timeout(900)]

_PROJECT = Path(__file__).resolve().parents[3]
_UI = re.compile(r"the Prefect UI is at (\S+);")

_in_time = retry(
    retry=retry_if_exception_type((AssertionError, httpx.HTTPError)),
    wait=wait_fixed(0.5),
    stop=stop_after_delay(300),
    reraise=True,
)


class _Server:
    """The Prefect server of ``bouncer-flows serve``, asked over its API."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._api = httpx.Client(base_url=f"{address}/api", timeout=60)

    def post(self, path: str, content: Any = None) -> Any:
        answer = self._api.post(path, json=content).raise_for_status()
        return answer.json() if answer.content else None

    def deployment(self, name: str) -> str:
        return str(self._api.get(f"/deployments/name/{name}/{name}").raise_for_status().json()["id"])

    def runs(self, flow: str) -> list[dict[str, Any]]:
        wanted = {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_ASC"}
        runs: list[dict[str, Any]] = self.post("/flow_runs/filter", wanted)
        return [run for run in runs if run["state"]["type"] != "SCHEDULED"]

    def state(self, run: str) -> str:
        return str(self._api.get(f"/flow_runs/{run}").raise_for_status().json()["state"]["type"])


def _kill_runs_of(home: Path) -> None:
    # A run is in a session of its own, and is known by what it was given.
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                given = (entry / "environ").read_bytes()
                if b"PREFECT__FLOW_RUN_ID=" in given and f"HOME={home}\0".encode() in given:
                    os.kill(int(entry.name), signal.SIGKILL)


@_in_time
def _address(served: Started) -> str:
    told = _UI.search(served.err)
    assert told is not None
    return told[1]


def test_silent_runs_turn_crashed_and_finish_when_they_are_retried(sandbox: SandboxHandle, tmp_path: Path) -> None:
    """Without anybody left to report their end, an ingest and its batch turn Crashed; those that completed stay so."""
    database = f"sqlite:///{tmp_path / 'contacts.db'}"
    environment = clean_environment(
        tmp_path,
        DATABASE_URL=database,
        BOUNCER_API_KEY=sandbox.key,
        BOUNCER_API_BASE_URL=sandbox.url,
        PREFECT_RUNNER_POLL_FREQUENCY="1",
    )
    # Serve makes none.
    engine = engine_for(database)
    engine.connect().close()
    try:
        with Started(["serve"], tmp_path, environment) as served:
            server = _Server(_address(served))

            @_in_time
            def pause_all() -> None:
                # Ticks would take the batches up before anybody sees that their runs are silent.
                for name in ("dispatch", "verify-batch", "check-health", "housekeeping"):
                    server.post(f"/deployments/{server.deployment(name)}/pause_deployment")

            pause_all()
            done = _start_ingest(server)
            _until_state(server, done, "COMPLETED")
            queue(engine, addresses(40))
            sandbox.post("/_sandbox/settings", {"fixed_seconds": 600})
            silent = _start_ingest(server)

            @_in_time
            def in_flight() -> None:
                assert sandbox.ledger()["requests_by_operation"].get("status", 0) > 0

            in_flight()
            # The one that serves first: it would say how its runs ended.
            served.process.kill()
            served.wait(30)
            _kill_runs_of(tmp_path)
        (batch,) = [str(run["id"]) for run in server.runs("verify-batch")]
        assert (server.state(silent), server.state(batch)) == ("RUNNING", "RUNNING")
        _until_state(server, silent, "CRASHED")
        _until_state(server, batch, "CRASHED")
        assert server.state(done) == "COMPLETED"
        sandbox.post(f"/_sandbox/batches/{sandbox.batches()[0]['id']}/complete")
        server.post(f"/flow_runs/{silent}/set_state", {"state": {"type": "SCHEDULED"}, "force": True})
        _work_on(silent, {**environment, "PREFECT_API_URL": f"{server.address}/api"})
        assert server.state(silent) == "COMPLETED"
        assert statuses(engine) == {"completed": 40}
        assert_verified_once(engine, sandbox, contacts=40)
        engine.dispose()
    finally:
        LocalServer(tmp_path / "flows").stop()


def _start_ingest(server: _Server) -> str:
    wanted = {"state": {"type": "SCHEDULED"}}
    return str(server.post(f"/deployments/{server.deployment('ingest')}/create_flow_run", wanted)["id"])


def _work_on(run: str, environment: Mapping[str, str]) -> None:
    """Does what a worker does with a run that waits, without the ticks that would come with one."""
    command = [sys.executable, "-m", "prefect", "flow-run", "execute", run]
    subprocess.run(command, env=dict(environment), cwd=_PROJECT, stdin=subprocess.DEVNULL, timeout=300, check=True)


@_in_time
def _until_state(server: _Server, run: str, state: str) -> None:
    assert server.state(run) == state
