"""Keys, passwords and addresses stay where they belong in all that ``serve`` runs, also where a run is killed."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, func, select

from bouncer.storage.engine import engine_for, read
from bouncer.storage.tables import Batch, Layer, QueuedContact, QueueStatus
from tests.deployments.running_commands import Started
from tests.ports import free_port
from tests.processes import descendants
from tests.sandbox_process import SandboxHandle, running_sandbox
from tests.trust.leaks.installation import KEY, QUOTING, Installation, decrypted_blocks, listings, until
from tests.trust.leaks.searching import addresses

_DEEP_KEY = "marked-key-of-the-deep-account"
_PASSWORD = "marked-password-of-the-server"
_TAKEN = "Deployment concurrency limit reached."
_FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class _Prefect:
    """The API of the server that ``serve`` has started."""

    def __init__(self, home: Path, password: str) -> None:
        self._home = home
        self._password = password

    @contextmanager
    def api(self) -> Iterator[httpx.Client]:
        port = (self._home / "flows" / "server.port").read_text()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api", auth=("admin", self._password), timeout=30) as api:
            yield api

    def start(self, deployment: str, **parameters: Any) -> str:
        """Starts a run of a deployment, as one does in the UI."""
        with self.api() as api:
            found = api.get(f"deployments/name/{deployment}").raise_for_status().json()["id"]
            made = api.post(f"deployments/{found}/create_flow_run", json={"parameters": parameters})
            return str(made.raise_for_status().json()["id"])

    def run(self, deployment: str, **parameters: Any) -> None:
        """Runs a deployment to its end, as soon as the schedule's own run of it leaves it to others."""
        while (state := self._ended(self.start(deployment, **parameters)))["message"] == _TAKEN:
            time.sleep(1)
        if state["type"] != "COMPLETED":
            pytest.fail(f"a run ended {state['name']}: {state['message']}")

    @until
    def until_served(self) -> None:
        """Waits until the last of the deployments is there."""
        with self.api() as api:
            api.get("deployments/name/steer/steer").raise_for_status()

    @until
    def _ended(self, run: str) -> dict[str, Any]:
        with self.api() as api:
            state: dict[str, Any] = api.get(f"flow_runs/{run}").raise_for_status().json()["state"]
        assert state["type"] in _FINAL
        return state


@until
def _until_nothing_is_open(engine: Engine) -> None:
    waits = select(func.count()).where(QueuedContact.status.in_([QueueStatus.QUEUED, QueueStatus.ASSIGNED]))
    assert read(engine, lambda connection: connection.scalar(waits)) == 0


@until
def _until_uploaded(sandbox: SandboxHandle, count: int) -> None:
    assert sandbox.ledger()["requests_by_operation"]["create"] >= count


def _kill_a_run(serve: Started) -> None:
    for process in descendants(serve.process.pid):
        try:
            is_run = b"PREFECT__FLOW_RUN_ID=" in Path(f"/proc/{process}/environ").read_bytes()
        except OSError:
            continue
        if is_run:
            os.kill(process, signal.SIGKILL)
            return
    pytest.fail("no run is under way")


def _queue(installation: Installation, name: str, wanted: list[str]) -> Path:
    file = installation.home / "given" / f"{name}.csv"
    file.write_text("\n".join(["email", *wanted]) + "\n")
    assert installation.run("import", str(file), "--request", name).code == 0
    return file


def _verify(prefect: _Prefect, sandbox: SandboxHandle, engine: Engine) -> None:
    sandbox.fault("status", operation="status", code=503, message=QUOTING)
    prefect.start("dispatch/dispatch")
    _until_nothing_is_open(engine)


def _kill_and_cancel(prefect: _Prefect, sandbox: SandboxHandle, engine: Engine, kill: Callable[[], None]) -> None:
    sandbox.post("/_sandbox/settings", {"fixed_seconds": 60})
    uploads = sandbox.ledger()["requests_by_operation"]["create"]
    prefect.start("dispatch/dispatch")
    _until_uploaded(sandbox, uploads + 2)
    kill()
    prefect.run("cancel/cancel", request_id=3, reason="the wrong list", by="somebody")
    _until_nothing_is_open(engine)
    sandbox.post("/_sandbox/settings", {"fixed_seconds": 0.4})


def _look_closer_and_export(prefect: _Prefect, engine: Engine, folder: Path) -> None:
    prefect.run("verify-risky/verify-risky")
    prefect.start("dispatch/dispatch")
    _until_nothing_is_open(engine)
    prefect.run("check-health/check-health")
    prefect.run("export-request/export-request", request_id=1, folder=str(folder))


def _look_and_kill(installation: Installation, serve: Started) -> None:
    installation.look_at_processes(serve)
    _kill_a_run(serve)


@pytest.mark.audit
@pytest.mark.timeout(900)
def test_nothing_leaks_from_what_serve_runs(tmp_path: Path, mariadb_url: str) -> None:
    """Batches with callbacks, real time, the deep pass, a kill, a cancellation, an export, health: nothing is found."""
    given = tmp_path / "given"
    given.mkdir()
    callbacks, metrics = free_port(), free_port()
    with running_sandbox(fixed_seconds=0.4, keys={KEY: 10_000}, deep_keys={_DEEP_KEY: 10_000}) as sandbox:
        installation = Installation(
            tmp_path,
            sandbox,
            mariadb_url,
            secrets=(_DEEP_KEY,),
            server_password=_PASSWORD,
            DEEP_BOUNCER_API_KEY=_DEEP_KEY,
            REALTIME_MAX_ADDRESSES="5",
            CALLBACK_URL=f"http://127.0.0.1:{callbacks}",
            CALLBACK_PORT=str(callbacks),
            METRICS_PORT=str(metrics),
        )
        prefect = _Prefect(tmp_path, _PASSWORD)
        asked_for = {
            _queue(installation, "many", addresses(100)),
            _queue(installation, "few", addresses(3, first=900)),
            given / "exports" / "request-1.csv",
        }
        engine = engine_for(mariadb_url)
        with installation.start("serve") as serve:
            prefect.until_served()
            _verify(prefect, sandbox, engine)
            asked_for.add(_queue(installation, "dropped", addresses(60, first=300)))
            _kill_and_cancel(prefect, sandbox, engine, lambda: _look_and_kill(installation, serve))
            _look_closer_and_export(prefect, engine, given / "exports")
            installation.look_at_processes(serve)
            told = {
                "metrics": httpx.get(f"http://127.0.0.1:{metrics}/metrics", timeout=30).raise_for_status().content,
                "receiver": httpx.get(f"http://127.0.0.1:{callbacks}/no-token", timeout=30).content,
            }
            with prefect.api() as api:
                told |= listings(api)
            serve.send(signal.SIGTERM)
            serve.wait(60)
        layers = read(engine, lambda connection: set(connection.scalars(select(Batch.layer).distinct())))
        realtime = read(engine, lambda connection: set(connection.scalars(select(Batch.realtime).distinct())))
        engine.dispose()
        # All of it has happened.
        assert layers == {Layer.BASIC, Layer.DEEP}
        assert realtime == {True, False}
        assert sandbox.ledger()["requests_by_operation"]["finish"] > 0

    marks = installation.marks
    assert installation.seen == {}
    assert marks.within(serve.err.encode()) == set()
    assert [kind for kind, text in told.items() if marks.within(text)] == []
    assert marks.in_files(tmp_path, but=asked_for) == {}
    # Prefect's runner leaves a folder, with nothing in it.
    assert [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()] == []
    assert marks.in_files(given).keys() == {str(file.relative_to(given)) for file in asked_for}
    assert _DEEP_KEY in "".join(decrypted_blocks(tmp_path / "flows" / "prefect" / "prefect.db"))
