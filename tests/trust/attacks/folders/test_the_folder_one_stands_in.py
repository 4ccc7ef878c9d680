"""Somebody leaves files in a folder, and a user runs our commands there."""

import asyncio
import os
import re
import resource
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate

from bouncer.storage.engine import engine_for
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.deployments.running_commands import clean_environment
from tests.prefect_server import served_deployments
from tests.processes import descendants
from tests.sandbox_process import SandboxHandle
from tests.trust.leaks.installation import until

pytestmark = pytest.mark.scenario

_COMMAND = str(Path(sys.executable).with_name("bouncer-flows"))
_PACKAGES = ("bouncer", "blocks", "tasks", "flows", "deployments", "sandbox", "prefect", "httpx", "sqlalchemy", "yaml")
_MODULES = ("sitecustomize", "usercustomize", "json", "ssl", "logging", "asyncio")


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A folder in which everything that Python or Prefect may look for would leave a trace when it is used."""
    trap, moved, ran = tmp_path / "trap", tmp_path / "moved.db", tmp_path / "ran"
    witness = f"import os, sys; open({str(ran)!r}, 'a').write(__name__ + ' in ' + ' '.join(sys.argv) + chr(10))\n"
    for name in _PACKAGES:
        (trap / name).mkdir(parents=True)
        (trap / name / "__init__.py").write_text(witness)
    for name in _MODULES:
        (trap / f"{name}.py").write_text(witness)
    # dictConfig calls whatever a handler is made by.
    handler = f'{{"()": os.mkdir, path: {tmp_path / "made-by-logging"}}}'
    (trap / "logging.yml").write_text(f"version: 1\nhandlers: {{console: {handler}}}\nroot: {{handlers: [console]}}\n")
    url = f"sqlite+aiosqlite:///{moved}"
    settings = f'[server.database]\nconnection_url = "{url}"\n[logging]\nconfig_path = "{trap}/logging.yml"\n'
    (trap / "prefect.toml").write_text(settings)
    (trap / "pyproject.toml").write_text(settings.replace("[", "[tool.prefect."))
    (trap / ".env").write_text(
        f"PREFECT_SERVER_DATABASE_CONNECTION_URL={url}\nPREFECT_LOGGING_SETTINGS_PATH={trap}/logging.yml\n"
        f"PREFECT_PROFILES_PATH={trap}/profiles.toml\nBOUNCER_API_KEY=the-key-of-a-stranger\n"
    )
    (trap / "profiles.toml").write_text(
        f'active = "own"\n[profiles.own]\nPREFECT_SERVER_DATABASE_CONNECTION_URL = "{url}"\n'
    )
    return trap


def _sprung(trap: Path) -> str:
    ran, moved, made = (trap.with_name(name) for name in ("ran", "moved.db", "made-by-logging"))
    told = ran.read_text() if ran.exists() else ""
    return told + "".join(f"{path.name} is there\n" for path in (moved, made) if path.exists())


@contextmanager
def _running(arguments: list[str], trap: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [_COMMAND, *arguments],
        cwd=trap,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=(trap.parent / "said").open("w"),
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def _is_alive(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def _environment(tmp_path: Path, sandbox: SandboxHandle, **settings: str) -> dict[str, str]:
    return clean_environment(tmp_path, BOUNCER_API_KEY=sandbox.key, BOUNCER_API_BASE_URL=sandbox.url, **settings)


@pytest.mark.long
def test_serve_runs_nothing_of_it(trap: Path, tmp_path: Path, sandbox: SandboxHandle) -> None:
    """Neither the command, nor its server, nor a run of a flow takes code or settings from there."""
    environment = _environment(tmp_path, sandbox, DATABASE_URL="sqlite:///contacts.db")
    # Serve makes none.
    engine_for(f"sqlite:///{trap / 'contacts.db'}").connect().close()
    with _running(["serve"], trap, environment) as serve:

        @until
        def is_up() -> str:
            said = (tmp_path / "said").read_text()
            assert "the Prefect UI is at" in said, said
            return f"http://127.0.0.1:{(tmp_path / 'flows' / 'server.port').read_text()}/api"

        server = is_up()

        @until
        def run_of_check_health() -> str:
            deployments = httpx.post(f"{server}/deployments/filter", json={}, timeout=30).raise_for_status().json()
            checks = [one["id"] for one in deployments if one["name"].startswith("check-health")]
            assert checks, deployments
            made = httpx.post(f"{server}/deployments/{checks[0]}/create_flow_run", json={}, timeout=30)
            return str(made.raise_for_status().json()["id"])

        # An idle installation is quiet, so one is asked for.
        run = run_of_check_health()

        @until
        def served() -> None:
            found = httpx.get(f"{server}/flow_runs/{run}", timeout=30).raise_for_status().json()
            assert found["state"]["type"] == "COMPLETED", found["state"]

        served()
        standing = {path.resolve() for child in descendants(serve.pid) if (path := Path(f"/proc/{child}/cwd")).exists()}
        processes = [serve.pid, *descendants(serve.pid)]
        limits = [Path(f"/proc/{process}/limits").read_text() for process in processes if _is_alive(process)]
        assert (tmp_path / "flows" / "tmp" / "runner_storage").is_dir()
    assert _sprung(trap) == ""
    assert trap not in standing
    # A core dump would hold the key. By a limit of 0 it goes to systemd-coredump all the same.
    assert limits
    none = min(1, resource.getrlimit(resource.RLIMIT_CORE)[1] % (1 << 64))
    assert all(re.search(rf"^Max core file size +{none} +{none} ", limit, re.MULTILINE) for limit in limits)
    assert stat.S_IMODE((tmp_path / "flows" / "tmp").stat().st_mode) == 0o700
    # A relative URL still means the folder that the user stands in, also in the runs.
    assert (trap / "contacts.db").exists()
    assert (tmp_path / "flows" / "prefect" / "prefect.db").exists()


def test_setup_and_ingest_run_nothing_of_it(trap: Path, tmp_path: Path, sandbox: SandboxHandle) -> None:
    """The key, the password and the database of the local server stay where they belong."""
    environment = _environment(tmp_path, sandbox, SERVER_PASSWORD="marked-password")
    for arguments in (["setup"], ["ingest", "--json"]):
        with _running(arguments, trap, environment) as command:
            assert command.wait(120) == 0, (tmp_path / "said").read_text()
    assert _sprung(trap) == ""
    held = sqlite3.connect(tmp_path / "flows" / "prefect" / "prefect.db")
    assert held.execute("SELECT count(*) FROM block_document WHERE name = 'default'").fetchone()[0] >= 2
    held.close()


@on_sqlite
@pytest.mark.long
async def test_the_runs_of_a_worker_take_nothing_of_it(
    set_up_account: SetUpAccount, tmp_path: Path, trap: Path
) -> None:
    """Prefect looks for flows in the current folder first; the runs of a worker stand in one of their own."""
    await set_up_account()
    for name in ("prefect.toml", "pyproject.toml", ".env"):
        # Prefect's own program believes these; that is why it is started elsewhere than among files of strangers.
        (trap / name).unlink()
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name="of-this-attack", type="process"), overwrite=True)
        (served,) = [one for one in await served_deployments(1) if one.name == "check-health"]
        served.work_pool_name, served.work_queue_name = "of-this-attack", "default"
        deployment = await served.aapply()
        run = await client.create_flow_run_from_deployment(deployment)
        worker = [str(Path(sys.executable).with_name("prefect")), "worker", "start", "--pool", "of-this-attack"]
        environment = {**os.environ, "PREFECT_WORKER_QUERY_SECONDS": "1"}
        with (
            (tmp_path / "said").open("w") as said,
            subprocess.Popen(worker, cwd=trap, env=environment, stdout=said, stderr=said) as process,  # noqa: ASYNC220  # it only starts
        ):
            try:

                @until
                def ended() -> str:
                    found = httpx.get(f"{client.api_url}flow_runs/{run.id}", timeout=30).raise_for_status().json()
                    assert found["state"]["type"] not in {"SCHEDULED", "PENDING", "RUNNING"}, found["state"]
                    return str(found["state"]["type"])

                state = await asyncio.to_thread(ended)
            finally:
                process.terminate()
                process.wait(60)
        await client.delete_deployment(deployment)
    assert state == "COMPLETED", (tmp_path / "said").read_text()
    assert _sprung(trap) == ""


def test_the_demo_runs_nothing_of_it(trap: Path, tmp_path: Path) -> None:
    """Its sandbox is a process of its own, which imports nothing of the folder either."""
    with _running(["demo", "--contacts", "50"], trap, clean_environment(tmp_path)) as command:
        assert command.wait(170) in {0, 1}, (tmp_path / "said").read_text()
    assert _sprung(trap) == ""
