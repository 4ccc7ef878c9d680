"""Links, pipes and devices where Prefect's settings or a demo's folder are looked for, and proxies that listen."""

import os
import sys
from pathlib import Path
from threading import Thread

import pytest

from bouncer.errors import InputRefused, SettingRefused
from deployments.demo import run_demo
from deployments.server.address import configured_server
from deployments.server.orchestration import orchestrator
from deployments.settings import Settings
from tests.deployments.running_commands import clean_environment, run
from tests.trust.answering import answering


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that one stands in, with no server configured elsewhere."""
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.parametrize("name", [".env", "prefect.toml", "pyproject.toml"])
def test_a_pipe_or_a_device_is_not_waited_for(name: str, here: Path) -> None:
    """Each command hung for ever, or took all memory, in a folder where anybody had laid one."""
    found: list[object] = []
    os.mkfifo(here / name)
    reader = Thread(target=lambda: found.append(configured_server()), daemon=True)
    reader.start()
    reader.join(30)
    assert found == [None]
    (here / name).unlink()
    (here / name).symlink_to("/dev/zero")
    assert configured_server() is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("prefect.toml", b"a=" + b"[" * 20_000),
        ("prefect.toml", b"a='\xff'"),
        (".env", b"A=\xff\xfe"),
        (".env", b'PREFECT_API_URL="\x1b[2Jhttp://127.0.0.1/api"'),
        (".env", b"PREFECT_API_URL=marked"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(name: str, text: bytes, here: Path) -> None:
    """Each command ended in a traceback."""
    (here / name).write_bytes(text)
    with pytest.raises(SettingRefused) as refused:
        configured_server()
    assert "\n" not in str(refused.value)
    assert "\x1b" not in str(refused.value)
    assert "marked" not in str(refused.value)


def test_which_server_it_is_is_told_without_its_password(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The journal of a service kept it, once for each command."""
    del here
    for name in ("NO_PROXY", "no_proxy", "PYTHONSAFEPATH"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setenv("PREFECT_API_URL", "http://user:marked@prefect.example/api?token=marked")
    with orchestrator(Settings()):
        pass
    told = capsys.readouterr().err
    assert "the Prefect server is http://prefect.example/api, as the environment says" in told
    assert "marked" not in told


@pytest.mark.scenario
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_a_proxy_hears_nothing_of_what_goes_to_a_local_server(tmp_path: Path) -> None:
    """With SERVER_HOST at an address of the machine, the password went to the proxy in the environment, in clear."""
    heard: list[str] = []
    with answering(b"", heard=heard) as port:
        proxy = f"http://127.0.0.1:{port}"
        proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY"), proxy)
        environment = clean_environment(
            tmp_path, SERVER_HOST="127.0.0.2", SERVER_PASSWORD="marked-password", BOUNCER_API_KEY="", **proxies
        )
        ended = run(["uninstall", "--yes"], environment)
    assert ended.code == 0, ended.err
    assert heard == []


def test_a_link_does_not_lead_a_demo_to_contacts(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link ``.demo`` to the home, and the demo deleted its database."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    home = tmp_path / "home"
    home.mkdir()
    for name in ("contacts.db", "results.csv"):
        (home / name).write_text("precious")
    (here / ".demo").symlink_to(home)
    for folder, words in ((here / ".demo", "is a link"), (home, "no demo's")):
        with pytest.raises(InputRefused, match=words):
            run_demo(5, folder)
    assert {path.name: path.read_text() for path in home.iterdir()} == {
        "contacts.db": "precious",
        "results.csv": "precious",
    }
