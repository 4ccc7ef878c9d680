"""A Prefect server that was started without any setting is open to every web page, and nobody is left in the dark."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.contacts import addresses
from tests.deployments.running_commands import clean_environment, run
from tests.ports import free_port
from tests.sandbox_process import SandboxHandle

_SAID = "every web page that somebody has open can read its blocks"


@retry(retry=retry_if_exception_type(httpx.HTTPError), wait=wait_fixed(0.2), stop=stop_after_delay(90), reraise=True)
def _until_it_answers(api_url: str) -> None:
    httpx.get(f"{api_url}/health").raise_for_status()


@pytest.fixture
def open_server(tmp_path: Path) -> Iterator[str]:
    """The API of a server that was started without any setting."""
    port = free_port()
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    environment = clean_environment(tmp_path, PREFECT_HOME=str(tmp_path / "server"))
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _until_it_answers(f"http://127.0.0.1:{port}/api")
            yield f"http://127.0.0.1:{port}/api"
        finally:
            server.terminate()


@pytest.mark.thorough
def test_an_open_prefect_server_is_told_of(open_server: str, sandbox: SandboxHandle, tmp_path: Path) -> None:
    """The first tutorial had the key in a server that any web page could read, and nothing said so."""
    environment = clean_environment(
        tmp_path,
        PREFECT_API_URL=open_server,
        PREFECT_HOME=str(tmp_path / "client"),
        DATABASE_URL=f"sqlite:///{tmp_path / 'contacts.db'}",
        BOUNCER_API_KEY=sandbox.key,
        BOUNCER_API_BASE_URL=sandbox.url,
    )
    made = run(["setup"], environment)
    assert made.code == 0, made.err
    assert _SAID in made.err
    assert _SAID not in made.out
    checked = run(["setup", "--check"], environment)
    assert checked.code == 1
    assert [_SAID in line for line in checked.out.splitlines()].count(True) == 1
    # An ingest that finds nothing to do asks no server.
    (tmp_path / "contacts.csv").write_text("\n".join(["email", *addresses(1)]) + "\n")
    assert run(["import", str(tmp_path / "contacts.csv")], environment).code == 0
    assert _SAID in run(["ingest", "--json"], environment).err
