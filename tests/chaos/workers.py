"""A Prefect worker of a site and the runs that it starts, each a process that scenarios kill."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.waiting import wait_until

__all__ = ["Workers"]

_PROJECT = Path(__file__).resolve().parents[2]
_IS_A_RUN = b"PREFECT__FLOW_RUN_ID="


class Workers:
    """The deployments on a Prefect server and one worker at a time that serves them.

    No schedule is active: runs come when a scenario asks for them.

    Args:
        api_url: Of the Prefect server.
        environment: All of the environment of the worker, and so of its runs.
        folder: Where logs go.
    """

    def __init__(self, api_url: str, environment: Mapping[str, str], folder: Path) -> None:
        self._api = httpx.Client(base_url=api_url, timeout=60)
        self._environment = {**environment, "PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
        self._log = folder / "worker.log"
        self._process: subprocess.Popen[bytes] | None = None

    def deploy(self) -> None:
        """Does what ``bouncer-flows setup`` and ``prefect deploy --all`` do, and pauses all schedules."""
        self._run("deployments.command_line", "setup", "--yes")
        self._run("prefect", "--no-prompt", "deploy", "--all")
        for deployment in self._deployments():
            self._post(f"/deployments/{deployment['id']}/pause_deployment")

    def start(self) -> None:
        """Starts the worker, in the place of one that is dead."""
        self._process = self._begin("prefect", "worker", "start", "--pool", "bouncer")

    def tick(self) -> None:
        """Starts a run of deployment ``dispatch``, as each minute does."""
        (dispatch,) = (deployment for deployment in self._deployments() if deployment["name"] == "dispatch")
        self._post(f"/deployments/{dispatch['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})

    def batches(self, *states: str) -> list[dict[str, Any]]:
        """The runs of verify-batch that are in one of some states."""
        wanted = {
            "deployments": {"id": {"any_": [deployment["id"] for deployment in self._deployments()]}},
            "flows": {"name": {"any_": ["verify-batch"]}},
            "flow_runs": {"state": {"type": {"any_": list(states)}}},
        }
        runs: list[dict[str, Any]] = self._post("/flow_runs/filter", wanted)
        return runs

    def retry(self, run: str) -> None:
        """Does what ``prefect flow-run retry`` and the button in the UI do."""
        state = {"state": {"type": "SCHEDULED", "message": "Retried via CLI"}, "force": True}
        self._post(f"/flow_runs/{run}/set_state", state)

    def until_completed(self, run: str) -> None:
        """Waits until a run has completed."""
        wait_until(lambda: self._state(run) == "COMPLETED", f"run {run} to complete")

    def kill_runs(self) -> None:
        """Kills the processes of all runs with SIGKILL; the worker sees it and says so."""
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill(self) -> None:
        """Kills the worker with SIGKILL, and then its runs: nobody is left to tell the server of it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.kill_runs()

    def end(self) -> None:
        """Ends what still runs, and takes the deployments away with what waits for a worker."""
        self.kill()
        with suppress(httpx.HTTPError):
            for deployment in self._deployments():
                self._api.delete(f"/deployments/{deployment['id']}").raise_for_status()
        self._api.close()

    def _deployments(self) -> list[dict[str, Any]]:
        deployments: list[dict[str, Any]] = self._post("/deployments/filter", {})
        return deployments

    def _state(self, run: str) -> str:
        answer = self._api.get(f"/flow_runs/{run}").raise_for_status()
        return str(answer.json()["state"]["type"])

    def _post(self, path: str, content: Any = None) -> Any:
        answer = self._api.post(path, json=content).raise_for_status()
        return answer.json() if answer.content else None

    def _run(self, module: str, *arguments: str) -> None:
        if self._begin(module, *arguments).wait(300):
            raise RuntimeError(f"{module} failed: {self._log.read_text(errors='replace')[-600:]}")

    def _begin(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=_PROJECT,
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _pids(self) -> list[int]:
        # A run is in a session of its own; it is known by what it was given. Other sites have other servers.
        server = f"PREFECT_API_URL={self._environment['PREFECT_API_URL']}".encode()
        pids = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    given = (entry / "environ").read_bytes().split(b"\0")
                    if server in given and any(variable.startswith(_IS_A_RUN) for variable in given):
                        pids.append(int(entry.name))
        return pids
