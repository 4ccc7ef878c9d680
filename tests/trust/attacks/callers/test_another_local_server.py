"""Another user of the machine listens where our local Prefect server is looked for, or has got its number."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from pydantic import SecretStr

from bouncer.errors import SettingRefused
from deployments.protection.server_proof import new_secret, proves_itself
from deployments.server.entrance import Entrance
from deployments.server.home import make_home
from deployments.server.local_server import LocalServer, local_server
from deployments.server.server_files import ServerFiles
from tests.trust.leaks.installation import until

pytestmark = pytest.mark.scenario

_PASSWORD = "marked-password"


class _Stranger:
    """What listens on a port and answers all that a stranger can know.

    Args:
        home: The folder of the server that it passes itself off as.
        asks: Where it gets its proofs; it invents them where this is None.
        port: Where it listens; 0 for any port.
    """

    def __init__(self, home: Path, asks: str | None = None, port: int = 0) -> None:
        heard = self.heard = []

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                """Passes itself off as the server."""
                heard.append(f"{self.path} {self.headers}")
                body = json.dumps({"home": str(home / "prefect")})
                if asks is not None and "proof" in self.path:
                    body = httpx.get(asks + self.path).text
                elif "proof" in self.path:
                    body = self.path.rpartition("=")[2]
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Answer)
        self.port = self._server.server_port
        self._thread = Thread(target=self._server.serve_forever)

    heard: list[str]

    def __enter__(self) -> "_Stranger":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of the server, whose last start ended by kill -9: all of its files are there."""
    home = tmp_path / "flows"
    home.mkdir(0o700)
    new_secret(home)
    return home


def test_who_listens_on_the_old_port_is_told_nothing(home: Path) -> None:
    """The password came first, then the key and the database's URL; now there is a question that only ours answers."""
    with _Stranger(home) as stranger:
        (home / "server.port").write_text(str(stranger.port))
        with local_server(home, Entrance(password=SecretStr(_PASSWORD))) as server:
            assert server.port != stranger.port
        assert not [line for line in stranger.heard if "authorization" in line.lower() or "/api" in line]


def test_who_passes_the_question_on_does_not_pass_for_it(tmp_path: Path) -> None:
    """The true server's answer is good for its own port only."""
    home = tmp_path / "flows"
    with (
        local_server(home) as server,
        _Stranger(home, asks=f"http://127.0.0.1:{server.port}") as stranger,
    ):
        assert proves_itself(home, f"http://127.0.0.1:{server.port}", seconds=10)
        assert not proves_itself(home, f"http://127.0.0.1:{stranger.port}", seconds=10)
        assert [line for line in stranger.heard if "proof" in line]


def test_who_passes_it_on_from_another_address_does_not_either(tmp_path: Path) -> None:
    """A stranger at the other address was sent the password, where one command has SERVER_HOST and another has not."""
    home = tmp_path / "flows"
    home.mkdir(mode=0o700)
    # One that is free at both addresses; a server of another test may have 4200 at the first.
    with socket.create_server(("127.0.0.1", 0)) as free:
        ServerFiles(home).note_port(free.getsockname()[1])
    password = SecretStr(_PASSWORD)
    with (
        local_server(home, Entrance("127.0.0.2", password)) as server,
        _Stranger(home, f"http://127.0.0.2:{server.port}", server.port) as stranger,
    ):
        assert proves_itself(home, f"http://127.0.0.2:{server.port}", seconds=10)
        assert not proves_itself(home, f"http://127.0.0.1:{server.port}", seconds=10)
        assert not LocalServer(home, Entrance(password=password))._answers(server.port)  # what a command asks first
        assert stranger.heard
        assert not [line for line in stranger.heard if "authorization" in line.lower() or "/api" in line]


def test_nothing_is_left_that_names_a_port(tmp_path: Path) -> None:
    """The port may be anybody's once the server is stopped."""
    home = tmp_path / "flows"
    with local_server(home):
        assert (home / "server.port").exists()
    assert sorted(path.name for path in home.glob("server.*")) == [
        *("server.alive.lock", "server.log", "server.start.lock", "server.users.lock")
    ]


@contextmanager
def _innocent() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]) as process:
        yield process
        process.kill()


def test_stop_kills_no_process_that_has_got_the_number(home: Path) -> None:
    """After kill -9 and a restart of the machine, the number of the server may be anybody's."""
    with _innocent() as innocent:
        (home / "server.pid").write_text(str(innocent.pid))
        LocalServer(home).stop()
        assert innocent.poll() is None
        (home / "server.pid").write_text(str(innocent.pid))
        with local_server(home):
            assert innocent.poll() is None
        assert innocent.poll() is None


def _can_be_taken(port: int) -> bool:
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taker.bind(("127.0.0.1", port))
            taker.listen()
        except OSError:
            return False
    return True


def test_nobody_takes_the_port_while_a_dead_server_is_started_again(tmp_path: Path) -> None:
    """The runs go on to talk to it, with the password."""
    home = tmp_path / "flows"
    with local_server(home) as server:
        first = int((home / "server.pid").read_text())
        os.kill(first, signal.SIGKILL)
        taken: list[bool] = []

        @until
        def restarted() -> None:
            taken.append(_can_be_taken(server.port))
            assert int((home / "server.pid").read_text()) != first
            assert httpx.get(f"{server.api_url}/health", timeout=1).is_success

        restarted()
        assert not any(taken)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files that belong to somebody else")
def test_a_home_that_somebody_else_laid_is_refused(tmp_path: Path) -> None:
    """In /tmp, whoever laid it first had root load his settings of Prefect, and with them his code."""
    shared = tmp_path / "shared"
    home = shared / "flows"
    home.mkdir(0o700, parents=True)
    os.chown(home, 65_534, 65_534)
    shared.chmod(0o1777)
    with pytest.raises(SettingRefused, match="others may write to"), local_server(home):
        pass
    shared.chmod(0o755)
    make_home(home)


@pytest.mark.parametrize("rights", [0o777, 0o1777, 0o770])
def test_a_home_that_others_may_write_to_is_refused(tmp_path: Path, rights: int) -> None:
    """They could put a server of their own in the place of ours."""
    home = tmp_path / "flows"
    home.mkdir()
    home.chmod(rights)
    with pytest.raises(SettingRefused, match="others may write to"), local_server(home):
        pass
