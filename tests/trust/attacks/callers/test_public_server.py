"""A stranger on the internet, or a page that a user has open, reaches for what the Prefect server hands out."""

import base64
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from bouncer.errors import SettingRefused
from deployments.protection.slow_guesses import WRONG_A_MINUTE
from deployments.protection.socket_users import user_of_caller
from deployments.server.entrance import Entrance
from deployments.server.local_server import LocalServer, local_server
from deployments.settings import read_settings

pytestmark = pytest.mark.scenario

_PASSWORD = "marked-password"
_FILTER = "/block_documents/filter"


def _asked(server: LocalServer, **headers: str) -> httpx.Response:
    return httpx.post(f"{server.api_url}{_FILTER}", json={"include_secrets": True}, headers=headers, timeout=30)


def _basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()


def test_a_public_address_without_a_password_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was taken, and the proxy handed the key to everybody."""
    monkeypatch.setenv("SERVER_PUBLIC_URL", "https://prefect.example.com")
    with pytest.raises(SettingRefused, match="set SERVER_PASSWORD too"):
        read_settings()
    monkeypatch.setenv("SERVER_PASSWORD", _PASSWORD)
    assert read_settings().server_public_url == "https://prefect.example.com"


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server that has no password."""
    with local_server(tmp_path_factory.mktemp("open") / "flows") as server:
        yield server


@pytest.mark.parametrize("name", ["prefect-in-memory", "prefect-in-memory:80", "PREFECT-IN-MEMORY"])
def test_the_name_that_the_server_calls_itself_by_opens_nothing(open_server: LocalServer, name: str) -> None:
    """Where a page's name leads is its owner's to say (DNS rebinding), and this name was let in."""
    assert _asked(open_server, Host=name).status_code == 400
    assert _asked(open_server).status_code == 200


def test_no_page_shows_it_in_a_frame(open_server: LocalServer) -> None:
    """A click on something else could press its buttons."""
    for path in ("/", "/dashboard", "/api/health", "/no-such-page"):
        headers = httpx.get(f"{open_server.ui_url}{path}", follow_redirects=True, timeout=30).headers
        assert headers["X-Frame-Options"] == "DENY", path
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"], path


_ENTRANCE = Entrance(password=SecretStr(_PASSWORD), public_url="https://prefect.example.com")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server that has a password."""
    with local_server(tmp_path_factory.mktemp("guarded") / "flows", _ENTRANCE) as server:
        yield server


def _guess_by_socket(server: LocalServer, password: str) -> bool:
    url = f"{server.api_url.replace('http', 'ws', 1)}/events/out"
    try:
        with connect(url, subprotocols=[Subprotocol("prefect")], proxy=None, open_timeout=30) as opened:
            opened.send(json.dumps({"type": "auth", "token": f"admin:{password}"}))
            return "auth_success" in str(opened.recv(30))
    except (ConnectionClosed, InvalidStatus):
        return False


def test_many_wrong_passwords_are_not_even_looked_at(guarded: LocalServer) -> None:
    """A hundred a second could be tried; now ten a minute, whoever one pretends to be, and our own runs go on."""
    stranger = {"Host": "prefect.example.com"}
    answers = [
        _asked(guarded, Authorization=_basic(f"wrong-{number}"), **stranger).status_code
        for number in range(2 * WRONG_A_MINUTE)
    ]
    assert answers == [401] * WRONG_A_MINUTE + [429] * WRONG_A_MINUTE
    for pretended in ("203.0.113.7", "127.0.0.1", "::1"):
        pretends = {"X-Forwarded-For": pretended, "Forwarded": f"for={pretended}", **stranger}
        assert _asked(guarded, Authorization=_basic("wrong"), **pretends).status_code == 429
    # Were the right one let through, guesses would still be answered.
    assert _asked(guarded, Authorization=_basic(_PASSWORD), **stranger).status_code == 429
    assert _asked(guarded, Authorization=_basic(_PASSWORD)).status_code == 200


def test_passwords_are_not_tried_over_websockets_either(tmp_path: Path) -> None:
    """They are another door to the same password."""
    with local_server(tmp_path / "flows", _ENTRANCE) as server:
        assert _guess_by_socket(server, _PASSWORD)
        assert not any(_guess_by_socket(server, f"wrong-{number}") for number in range(WRONG_A_MINUTE))
        assert not _guess_by_socket(server, _PASSWORD)
        assert _asked(server, Authorization=_basic(_PASSWORD)).status_code == 429


def test_many_passwords_at_once_are_not_looked_at_either(tmp_path: Path) -> None:
    """As many as were sent before the first was refused were looked at, by connections or by open WebSockets."""
    stranger = {"Host": "prefect.example.com"}
    many = 4 * WRONG_A_MINUTE
    with local_server(tmp_path / "flows", _ENTRANCE) as server:
        socket_url = f"{server.api_url.replace('http', 'ws', 1)}/events/out"
        with ExitStack() as opened_ones:
            opened = [
                opened_ones.enter_context(
                    connect(socket_url, subprotocols=[Subprotocol("prefect")], proxy=None, open_timeout=30)
                )
                for _ in range(many)
            ]
            for number, one in enumerate(opened):
                one.send(json.dumps({"type": "auth", "token": f"admin:wrong-{number}"}))
            looked_at = 0
            for one in opened:
                with pytest.raises(ConnectionClosed) as closed:
                    one.recv(30)
                looked_at += closed.value.rcvd is not None and closed.value.rcvd.code == CloseCode.POLICY_VIOLATION
            assert looked_at == WRONG_A_MINUTE
        with ThreadPoolExecutor(many) as guessers:
            answers = list(
                guessers.map(
                    lambda number: _asked(server, Authorization=_basic(f"wrong-{number}"), **stranger).status_code,
                    range(many),
                )
            )
        assert sorted(answers) == [401] * WRONG_A_MINUTE + [429] * (many - WRONG_A_MINUTE)


_GUESS = """
import encodings.idna, os, socket, sys
os.setgroups([]), os.setgid(65_534), os.setuid(65_534)
for _ in range(15):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 30) as caller:
        caller.sendall(sys.argv[2].encode())
        print(caller.recv(100).split()[1].decode())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run programs of somebody else")
def test_another_user_of_the_machine_does_not_lock_our_runs_out(guarded: LocalServer) -> None:
    """Ten wrong passwords a minute from this machine, and all that verifies was told 429."""
    asked = (
        f"POST /api{_FILTER} HTTP/1.1\r\nHost: 127.0.0.1:{guarded.port}\r\nAuthorization: {_basic('wrong')}\r\n"
        "Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    )
    command = [sys.executable, "-I", "-S", "-c", _GUESS, str(guarded.port), asked]
    ended = subprocess.run(command, capture_output=True, check=True)
    assert ended.stdout.split() == [b"401"] * WRONG_A_MINUTE + [b"429"] * 5
    assert _asked(guarded, Authorization=_basic(_PASSWORD)).status_code == 200
    assert _guess_by_socket(guarded, _PASSWORD)


_CALL_FROM_PORT = """
import encodings.idna, os, socket, sys
os.setgroups([]), os.setgid(65_534), os.setuid(65_534)
with socket.socket() as caller:
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    caller.bind(("127.0.0.1", int(sys.argv[1])))
    caller.connect(("127.0.0.1", int(sys.argv[2])))
    caller.recv(1)
print("hung up", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run programs of somebody else")
def test_another_user_is_not_taken_for_root_where_a_connection_was_closed() -> None:
    """Linux lists it as root's for a minute: one of the same port before, or his own; his guesses counted as root's."""
    with (
        socket.create_server(("127.0.0.1", 0)) as other_server,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket() as before,
    ):
        before.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        before.bind(("127.0.0.1", 0))
        port = before.getsockname()[1]
        before.connect(other_server.getsockname())
        # Whoever hangs up first is who waits for what may still be under way.
        with other_server.accept()[0] as answered:
            before.close()
            assert answered.recv(1) == b""
        command = [sys.executable, "-I", "-S", "-c", _CALL_FROM_PORT, str(port), str(server.getsockname()[1])]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as calling:
            connection, caller = server.accept()
            with connection:
                assert caller[1] == port
                assert user_of_caller(caller, connection.getsockname()) == 65_534
                connection.send(b"x")
                assert calling.stdout is not None
                assert calling.stdout.readline() == b"hung up\n"
                # Who does not wait for his answer is nobody that we know.
                assert user_of_caller(caller, connection.getsockname()) is None
            calling.communicate()
        assert calling.returncode == 0


def test_the_ui_that_asks_before_it_knows_a_password_counts_as_no_guess(guarded: LocalServer) -> None:
    """A page that is opened asks for ten things at once, and is told ten times that it needs a password."""
    assert {_asked(guarded).status_code for _ in range(3 * WRONG_A_MINUTE)} == {401}
    assert _asked(guarded, Authorization=_basic(_PASSWORD)).status_code == 200


def test_no_other_program_may_say_who_calls(guarded: LocalServer) -> None:
    """Each guess would be another caller's."""
    with socket.create_connection(("127.0.0.1", guarded.port)) as raw:
        raw.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n")
        while raw.recv(4096):
            pass
    log = (guarded._home / "server.log").read_text()  # its own log is where uvicorn tells who called
    assert "203.0.113.9" not in log
