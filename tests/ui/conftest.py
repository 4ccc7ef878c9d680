"""One installation as ``bouncer-flows serve`` makes it, and a browser that looks at it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from bouncer.storage.engine import engine_for
from tests.deployments.running_commands import Started, clean_environment, run
from tests.sandbox_process import SandboxHandle, running_sandbox
from tests.ui.browser import PrefectUI, missing_browser, open_ui

_UI = re.compile(r"the Prefect UI is at (\S+);")


@pytest.fixture(scope="module")
def bouncer() -> Iterator[SandboxHandle]:
    """A sandbox on which a batch takes long enough to be watched."""
    with running_sandbox(fixed_seconds=5) as sandbox:
        yield sandbox


# Of a module and no longer: while a browser is open its event loop runs, and no test of another module can have one.
@pytest.fixture(scope="module")
def ui(bouncer: SandboxHandle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectUI]:
    """The UI of a running ``bouncer-flows serve``, in a browser; nothing starts by itself there."""
    if reason := missing_browser():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    home = tmp_path_factory.mktemp("ui")
    settings = {
        "DATABASE_URL": _database(home),
        "BOUNCER_API_KEY": bouncer.key,
        "BOUNCER_API_BASE_URL": bouncer.url,
        "BATCH_SIZE": "100",
        "POLL_SECONDS_MIN": "0.5",
        "POLL_SECONDS_MAX": "0.5",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    }
    environment = clean_environment(home, **settings)
    # A database that DATABASE_URL names is made by setup alone.
    made = run(["setup"], environment)
    assert made.code == 0, made.err
    with Started(["serve"], home, environment) as served:
        try:
            address = _address(served)
            with open_ui(address) as opened:
                opened.open_deployment("dispatch")
                opened.pause_schedule()
                # A tick that is under way would take the contacts of a test before the run from its form does.
                _no_run_is_open(address)
                yield opened
        finally:
            served.stop(20)


@pytest.fixture(scope="module")
def contacts(ui: PrefectUI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The contacts database of the installation."""
    engine = engine_for(_database(tmp_path_factory.getbasetemp() / "ui0"))
    yield engine
    engine.dispose()


@retry(retry=retry_if_exception_type(AssertionError), wait=wait_fixed(0.2), stop=stop_after_delay(60), reraise=True)
def _no_run_is_open(address: str) -> None:
    of_dispatch = {
        "flows": {"name": {"any_": ["dispatch"]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}}},
    }
    answer = httpx.post(f"{address}/api/flow_runs/filter", json=of_dispatch)
    assert answer.raise_for_status().json() == []


def _database(home: Path) -> str:
    return f"sqlite:///{home / 'contacts.db'}"


@retry(retry=retry_if_exception_type(LookupError), wait=wait_fixed(0.2), stop=stop_after_delay(120), reraise=True)
def _address(served: Started) -> str:
    told = _UI.search(served.err)
    if told is None:
        raise LookupError(f"serve has not told where the UI is: {served.err}")
    return told[1]
