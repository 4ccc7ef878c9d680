"""Which Prefect server a command works with: the one that Prefect itself would use, wherever that is written."""

import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from bouncer.errors import SettingRefused
from deployments.server.address import configured_server, spare_this_machine_the_proxy
from deployments.server.orchestration import orchestrator
from deployments.settings import Settings

_URL = "http://prefect.example/api"
_PROFILES = f"""
active = "cloud"
[profiles.local]
PREFECT_LOGGING_LEVEL = "INFO"
[profiles.cloud]
PREFECT_API_URL = "{_URL}"
"""
_TOML = f'[api]\nurl = "{_URL}"\n'
_PYPROJECT = f'[tool.prefect.api]\nurl = "{_URL}"\n'


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder that one stands in, with a home of Prefect beside it, and nothing configured."""
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH", "PREFECT_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "here").mkdir()
    (tmp_path / "prefect").mkdir()
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def _prefects_answer() -> str:
    # Without the switch that the tests of this project work under.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_TEST")}
    asked = "from prefect.settings import get_current_settings; print(get_current_settings().api.url)"
    done = subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip() or "None"


def _ours() -> str:
    found = configured_server()
    return "None" if found is None else found.url


@pytest.mark.parametrize(
    ("variables", "files", "source"),
    [
        ({}, {}, None),
        ({"PREFECT_API_URL": _URL}, {}, "the environment"),
        ({}, {"here/.env": f"PREFECT_API_URL={_URL}"}, ".env"),
        ({}, {"here/prefect.toml": _TOML}, "prefect.toml"),
        ({}, {"here/pyproject.toml": _PYPROJECT}, "pyproject.toml"),
        ({}, {"prefect/profiles.toml": _PROFILES}, "the active profile"),
        ({"PREFECT_PROFILE": "local"}, {"prefect/profiles.toml": _PROFILES}, None),
        ({"PREFECT_PROFILE": "none such"}, {"prefect/profiles.toml": _PROFILES}, None),
        ({"PREFECT_PROFILES_PATH": "mine.toml"}, {"here/mine.toml": _PROFILES}, "the active profile"),
        ({"PREFECT_API_URL": ""}, {"prefect/profiles.toml": _PROFILES}, None),
        ({"PREFECT_API_URL": "http://first/api"}, {"here/prefect.toml": _TOML}, "the environment"),
        ({}, {"here/.env": "PREFECT_API_URL=http://first/api", "here/prefect.toml": _TOML}, ".env"),
    ],
)
def test_the_server_is_prefects_own_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], files: dict[str, str], source: str | None
) -> None:
    """Looking at two of the six places made a second, private server, with limits of its own for the same key."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for path, text in files.items():
        (folder / path).write_text(text)
    assert _ours() == _prefects_answer()
    found = configured_server()
    assert (found is None) == (source is None)
    if found is not None and source is not None:
        assert found.source.startswith(source)


def test_a_profile_that_cannot_be_read_is_none(folder: Path) -> None:
    """A broken profiles.toml is Prefect's to complain of; it does not end the command with a traceback."""
    (folder / "prefect" / "profiles.toml").write_text("active = [")
    assert configured_server() is None


def test_the_home_may_be_written_with_a_tilde(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The profile is found where PREFECT_HOME starts with a tilde, or is not set at all."""
    (folder / ".prefect").mkdir()
    (folder / ".prefect" / "profiles.toml").write_text(_PROFILES)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("PREFECT_HOME", "~/.prefect")
    assert configured_server() is not None
    monkeypatch.delenv("PREFECT_HOME")
    assert configured_server() is not None


@pytest.mark.parametrize("url", ["", _URL])
def test_a_home_of_nobody_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Every command ended in a traceback, ours or Prefect's."""
    monkeypatch.setenv("PREFECT_HOME", "~nobody-here/prefect")
    monkeypatch.setenv("PREFECT_API_URL", url)
    with pytest.raises(
        SettingRefused, match="PREFECT_HOME: it begins with the home of a user who has none; name another folder"
    ):
        configured_server()


def test_a_file_that_prefect_cannot_read_is_told_in_one_line(folder: Path) -> None:
    """Prefect would end with a traceback as it is imported."""
    (folder / "here" / "prefect.toml").write_text("[api")
    with pytest.raises(SettingRefused, match=r"prefect\.toml is not valid TOML"):
        configured_server()


def test_a_proxy_does_not_stand_before_this_machine() -> None:
    """A proxy in the environment is for elsewhere; what somebody has excepted stays excepted."""
    environment = {"HTTP_PROXY": "http://proxy:3128", "no_proxy": "example.com"}
    spare_this_machine_the_proxy(environment)
    assert environment["NO_PROXY"] == "127.0.0.1,localhost,::1"
    assert environment["no_proxy"] == "example.com,127.0.0.1,localhost,::1"
    everything = {"NO_PROXY": "*", "no_proxy": "*"}
    spare_this_machine_the_proxy(everything)
    assert everything == {"NO_PROXY": "*", "no_proxy": "*"}


def test_a_retry_outside_of_a_run_is_one_line() -> None:
    """While a database was away, each try was followed by Prefect's warning of five lines with a line of our code."""
    script = """
import logging
from deployments.server.orchestration import orchestrator
from deployments.settings import read_settings
with orchestrator(read_settings()):
    from prefect.logging.configuration import setup_logging
    setup_logging()
    logging.getLogger("bouncer.storage.engine").warning("the database is away")
"""
    environment = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:1/api"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "the database is away" in done.stderr
    assert "UserWarning" not in done.stderr


def test_prefects_clients_read_one_authority_for_the_local_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each read all of them, in each of a run's nine clients; of a server in the clear none is needed."""

    class Server:
        """One that would be started."""

        api_url = "http://127.0.0.1:1/api"
        ui_url = "http://127.0.0.1:1"

    @contextmanager
    def started(_home: Path, *_: object, meanwhile: Callable[[Server], None], **__: object) -> Iterator[Server]:
        meanwhile(Server())
        yield Server()

    own = {
        "PREFECT_API_URL": "https://team.example/api",
        "PREFECT_API_SSL_CERT_FILE": "/etc/team.pem",
        "PREFECT_API_AUTH_STRING": "team:secret",
        "PREFECT_HOME": "/srv/team",
    }
    for name, value in own.items():
        # Whatever the command leaves behind is taken back at the end.
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("deployments.server.orchestration.local_server", started)
    # One that was damaged is made anew.
    (folder / "one-authority.pem").write_text("half of it")
    with orchestrator(Settings(bouncer_flows_home=folder, server_password=SecretStr("local-password")), local=True):
        assert "local-password" in os.environ["PREFECT_API_AUTH_STRING"]
        context = ssl.create_default_context(cafile=os.environ["PREFECT_API_SSL_CERT_FILE"])
    assert context.cert_store_stats() == {"x509": 1, "x509_ca": 1, "crl": 0}
    # What is started afterwards speaks to the team's server, by TLS, and does not tell it the local one's password.
    assert {name: os.environ.get(name) for name in own} == own
