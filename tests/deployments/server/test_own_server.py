"""Commands that start a Prefect server of their own: stopped in the middle, killed, and gone on with."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import TimeoutExpired

import httpx
import pytest
from sqlalchemy import Engine, func, select
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from bouncer.storage.engine import engine_for, read
from bouncer.storage.migrate import upgrade
from bouncer.storage.tables import Batch
from tests.contacts import addresses, assert_verified_once, queue, statuses
from tests.deployments.running_commands import Started, clean_environment
from tests.sandbox_process import SandboxHandle, running_sandbox


def _server_answers(home: Path) -> bool:
    try:
        port = (home / "flows" / "server.port").read_text()
        return httpx.get(f"http://127.0.0.1:{port}/api/health").is_success
    except (OSError, httpx.HTTPError):
        return False


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """The home of a user, whose server is gone afterwards even where the test failed."""
    yield tmp_path
    with suppress(OSError, ValueError):
        os.kill(int((tmp_path / "flows" / "server.pid").read_text()), signal.SIGKILL)


@retry(retry=retry_if_exception_type(AssertionError), wait=wait_fixed(0.2), stop=stop_after_delay(90), reraise=True)
def _wait_for(sandbox: SandboxHandle, operation: str, count: int) -> None:
    assert sandbox.ledger()["requests_by_operation"].get(operation, 0) >= count


@retry(retry=retry_if_exception_type(AssertionError), wait=wait_fixed(0.2), stop=stop_after_delay(90), reraise=True)
def _until_uploaded(engine: Engine, count: int) -> None:
    uploaded = select(func.count()).where(Batch.bouncer_id.is_not(None))
    assert read(engine, lambda connection: connection.scalar(uploaded)) == count


def _engine(home: Path) -> Engine:
    (home / "flows").mkdir()
    engine = engine_for(f"sqlite:///{home / 'flows' / 'contacts.db'}")
    upgrade(engine)
    return engine


@retry(retry=retry_if_exception_type(AssertionError), wait=wait_fixed(0.05), stop=stop_after_delay(90), reraise=True)
def _until_said(command: Started, words: str) -> None:
    assert words in command.err


@pytest.mark.scenario
def test_serve_that_is_stopped_as_soon_as_it_is_there_leaves_no_server(home: Path) -> None:
    """A service manager that stops serve right after its start finds the port free for the next one."""
    with (
        running_sandbox() as sandbox,
        Started(
            ["serve"],
            home,
            clean_environment(home, BOUNCER_API_KEY=sandbox.key, BOUNCER_API_BASE_URL=sandbox.url),
        ) as serve,
    ):
        _until_said(serve, "the Prefect UI is at")
        server = int((home / "flows" / "server.pid").read_text())
        serve.send(signal.SIGTERM)
        serve.wait(30)
    assert "Traceback" not in serve.err
    assert not Path(f"/proc/{server}").exists()


_INTERRUPTED_WHILE_CLEANING_UP = """
import os, signal, sys
from deployments import command_line
from deployments.serving import metrics_endpoint

class Closing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

def interrupted(*given, serving=metrics_endpoint.serving_metrics):
    Closing()
    return serving(*given)

metrics_endpoint.serving_metrics = interrupted
sys.argv = ["bouncer-flows", "serve"]
command_line.main()
"""


@pytest.mark.scenario
def test_serve_that_is_interrupted_while_python_cleans_up_ends_all_the_same(home: Path) -> None:
    """What is raised there is lost, and with it a Ctrl-C would be."""
    with running_sandbox() as sandbox:
        environment = clean_environment(home, BOUNCER_API_KEY=sandbox.key, BOUNCER_API_BASE_URL=sandbox.url)
        with Started([], home, environment, program=["-c", _INTERRUPTED_WHILE_CLEANING_UP]) as serve:
            assert serve.ended(120).code == 0
        assert "stopping; Ctrl-C again ends it at once" in serve.err
        assert "Traceback" not in serve.err
    assert not _server_answers(home)


@pytest.mark.scenario
def test_serve_behind_a_shells_and_ignores_the_ctrl_c_of_its_terminal(home: Path) -> None:
    """A script that starts it so, and is interrupted itself, leaves it running; SIGTERM ends it."""
    with running_sandbox() as sandbox:
        environment = clean_environment(home, BOUNCER_API_KEY=sandbox.key, BOUNCER_API_BASE_URL=sandbox.url)
        heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            serve = Started(["serve"], home, environment)
        finally:
            signal.signal(signal.SIGINT, heard)
        with serve:
            _until_said(serve, "the Prefect UI is at")
            serve.send(signal.SIGINT)
            with pytest.raises(TimeoutExpired):
                serve.wait(3)
            serve.send(signal.SIGTERM)
            assert serve.wait(30) == 0
    assert not _server_answers(home)


@pytest.mark.long
@pytest.mark.thorough
def test_an_ingest_that_is_stopped_killed_and_bereft_of_its_server_loses_nothing(home: Path) -> None:
    """SIGTERM ends it within 20 s; after kill -9 the next one uses the server that was left, or brings it back."""
    with running_sandbox(fixed_seconds=6) as sandbox:
        settings = {
            "BOUNCER_API_KEY": sandbox.key,
            "BOUNCER_API_BASE_URL": sandbox.url,
            "BATCH_SIZE": "50",
            "MAX_CONCURRENT_BATCHES": "2",
            "POLL_SECONDS_MIN": "0.2",
            "POLL_SECONDS_MAX": "0.5",
        }
        environment = clean_environment(home, **settings)
        engine = _engine(home)
        queue(engine, addresses(150))

        with Started(["ingest", "--json"], home, environment) as stopped:
            _wait_for(sandbox, "create", 1)
            stopped.send(signal.SIGTERM)
            ended = stopped.ended(20)
        assert ended.code == 2
        assert ended.answer["outcome"] == "stopped"
        assert "run ingest again to go on" in ended.answer["message"]
        assert not _server_answers(home)
        assert statuses(engine).get("failed", 0) == 0

        sandbox.post("/_sandbox/settings", {"fixed_seconds": 30})
        with Started(["ingest", "--json"], home, environment) as killed:
            # Killed between an answer and its commit, it would have lost an upload, and declared it.
            _until_uploaded(engine, 3)
            killed.send(signal.SIGKILL)
            killed.wait(10)
        assert _server_answers(home)

        for batch in [batch for batch in sandbox.batches() if batch["completed_at"] is None]:
            sandbox.post(f"/_sandbox/batches/{batch['id']}/complete")
        with Started(["ingest", "--json"], home, environment) as finishing:
            _wait_for(sandbox, "credits", 3)
            os.kill(int((home / "flows" / "server.pid").read_text()), signal.SIGKILL)
            done = finishing.ended(150)
        assert done.code == 0, done.err
        assert (done.answer["outcome"], done.answer["left"], done.answer["failed"]) == ("drained", 0, 0)
        assert_verified_once(engine, sandbox, contacts=150)
        assert done.answer["possible_double_payments"] == 0
    assert not _server_answers(home)
    engine.dispose()
