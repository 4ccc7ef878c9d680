"""The local Prefect server hands out keys, so it is open to nobody but its user."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from bouncer.errors import SettingRefused
from deployments.server.entrance import Entrance, server_environment
from deployments.server.local_server import LocalServer, local_server
from deployments.settings import read_settings
from tests.deployments.running_commands import clean_environment, run

pytestmark = pytest.mark.scenario

_PASSWORD = "marked-password"


def _blocks(server: LocalServer, **request: object) -> httpx.Response:
    url = f"{server.api_url}/block_documents/filter"
    return httpx.post(url, json={"include_secrets": True}, timeout=30, **request)  # type: ignore[arg-type]  # any of httpx's


def test_it_listens_on_loopback(prefect_server: LocalServer) -> None:
    """No other machine can reach it."""
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if " 0A " in line]
    assert [place for place in listening if place.endswith(f":{prefect_server.port:04X}")] == [
        f"0100007F:{prefect_server.port:04X}"
    ]


def test_no_page_of_another_site_can_read_it(prefect_server: LocalServer) -> None:
    """A browser hands an answer to a page only where the server allows its origin, which is the UI's alone."""
    allowed = "access-control-allow-origin"
    assert allowed not in _blocks(prefect_server, headers={"Origin": "https://evil.example"}).headers
    assert allowed not in _blocks(prefect_server, headers={"Origin": "null"}).headers
    for own in (prefect_server.ui_url, f"http://localhost:{prefect_server.port}"):
        assert _blocks(prefect_server, headers={"Origin": own}).headers[allowed] == own


def _greeting(server: LocalServer, path: str, origin: str | None) -> str:
    """What the server answers to who opens one of its WebSockets, as a page of some site or as a program."""
    url = f"{server.api_url.replace('http', 'ws', 1)}{path}"
    said = None if origin is None else Origin(origin)
    with connect(url, subprotocols=[Subprotocol("prefect")], origin=said, proxy=None, open_timeout=30) as socket:
        socket.send(json.dumps({"type": "auth", "token": None}))
        return str(json.loads(socket.recv(30))["type"])


@pytest.mark.parametrize("path", ["/events/in", "/events/out", "/logs/out"])
def test_no_page_of_another_site_hears_or_tells_it_anything(prefect_server: LocalServer, path: str) -> None:
    """Any web page could once follow all logs and send events over a WebSocket, which CORS does not cover."""
    for other in ("https://evil.example", "http://localhost:1", "null"):
        with pytest.raises(InvalidStatus, match="403"):
            _greeting(prefect_server, path, other)
    for own in (None, prefect_server.ui_url, f"http://localhost:{prefect_server.port}"):
        assert _greeting(prefect_server, path, own) == "auth_success"


def test_no_page_of_another_site_changes_anything(prefect_server: LocalServer) -> None:
    """A POST without a body is sent by browsers without asking first; only its answer would be kept from the page."""
    url = f"{prefect_server.api_url}/flow_runs/count"
    assert httpx.post(url, headers={"Origin": "https://evil.example"}).status_code == 403
    assert httpx.post(url, headers={"Origin": prefect_server.ui_url}).status_code == 200
    assert httpx.post(url).status_code == 200


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:4200"])
def test_it_is_asked_by_its_own_names_only(prefect_server: LocalServer, name: str) -> None:
    """A name on the internet that is made to lead to 127.0.0.1 gives a page no way in."""
    assert _blocks(prefect_server, headers={"Host": name}).status_code == 400
    assert _blocks(prefect_server, headers={"Host": f"localhost:{prefect_server.port}"}).status_code == 200


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, LocalServer]]:
    """A server with a password, and the home of its user."""
    home = tmp_path_factory.mktemp("guarded")
    with local_server(home / "flows", Entrance(password=SecretStr(_PASSWORD))) as server:
        yield home, server


def test_with_a_password_it_lets_nobody_else_in(guarded: tuple[Path, LocalServer]) -> None:
    """Without it, or with another, there is no answer; with it there is."""
    _, server = guarded
    assert _blocks(server).status_code == 401
    assert _blocks(server, auth=("admin", "another-password")).status_code == 401
    assert _blocks(server, auth=("admin", _PASSWORD)).status_code == 200
    assert httpx.get(f"{server.api_url}/admin/settings").status_code == 401


def test_commands_come_in_with_the_password(guarded: tuple[Path, LocalServer]) -> None:
    """With SERVER_PASSWORD, a command works with the server that runs; without, or with another, it says what to do."""
    home, _ = guarded
    account = {"BOUNCER_API_KEY": "some-key", "BOUNCER_API_BASE_URL": "http://127.0.0.1:9/v1.1"}
    made = run(["setup"], clean_environment(home, SERVER_PASSWORD=_PASSWORD, **account))
    assert made.code == 0, made.err
    assert "block bouncer-account/default saved" in made.out
    assert _PASSWORD not in made.out + made.err + (home / "flows" / "server.log").read_text()
    for wrong in ({}, {"SERVER_PASSWORD": "another-password"}):
        refused = run(["setup"], clean_environment(home, **account, **wrong))
        assert "set SERVER_PASSWORD as it was at its start" in refused.complaint


def test_a_password_does_not_come_too_late(prefect_server: LocalServer, prefect_home: Path, tmp_path: Path) -> None:
    """Who sets a password must not work with a server that was started without, and be told nothing."""
    assert prefect_server.port
    environment = clean_environment(tmp_path, SERVER_PASSWORD=_PASSWORD, BOUNCER_FLOWS_HOME=str(prefect_home))
    assert "runs without a password" in run(["setup"], environment).complaint


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"SERVER_HOST": "0.0.0.0"}, "set SERVER_PASSWORD too"),  # noqa: S104  # what is refused
        ({"SERVER_HOST": "::"}, "set SERVER_PASSWORD too"),
        ({"SERVER_HOST": "prefect.example.com"}, "set SERVER_PASSWORD too"),
        ({"SERVER_PASSWORD": "short"}, "SERVER_PASSWORD: a password has 8"),
        ({"SERVER_PASSWORD": "pässwörter"}, "SERVER_PASSWORD: a password has 8"),
        ({"SERVER_PUBLIC_URL": "prefect.example.com"}, "SERVER_PUBLIC_URL"),
        ({"SERVER_PUBLIC_URL": "https://me:secret@prefect.example.com"}, "SERVER_PUBLIC_URL"),
    ],
)
def test_what_would_open_it_is_refused(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str) -> None:
    """A server for others needs a password that everything can send, and an address that browsers can use."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingRefused, match=said) as refusal:
        read_settings()
    assert all(value not in str(refusal.value) for name, value in settings.items() if name != "SERVER_HOST")


def test_behind_a_proxy_the_ui_is_told_its_public_address(tmp_path: Path) -> None:
    """Browsers elsewhere ask for the API where the UI tells them to, under the name that the proxy passes on."""
    entrance = Entrance(public_url="https://prefect.example.com")
    environment = server_environment(tmp_path, 4200, entrance)
    assert environment["PREFECT_UI_API_URL"] == "https://prefect.example.com/api"
    assert "https://prefect.example.com" in environment["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"].split(",")
    assert "prefect.example.com" in entrance.hosts()
