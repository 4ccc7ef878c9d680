"""The local Prefect server: one a home, shared, found again, restarted, and gone with the last command."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from deployments.server.entrance import server_environment
from deployments.server.local_server import LocalServer, local_server
from deployments.server.server_files import ServerFiles


def _answers(server: LocalServer) -> bool:
    try:
        return httpx.get(f"{server.api_url}/health").is_success
    except httpx.HTTPError:
        return False


@pytest.mark.thorough
def test_a_server_is_shared_and_stopped_by_the_last(tmp_path: Path) -> None:
    """Two commands of one home use one server, which ends with the last of them and not before."""
    with local_server(tmp_path) as first:
        with local_server(tmp_path) as second:
            assert second.port == first.port
        assert _answers(first)
    assert not _answers(first)
    assert not (tmp_path / "server.pid").exists()


@pytest.mark.thorough
def test_a_port_that_another_has_is_left_alone(tmp_path: Path) -> None:
    """Another home's server holds other blocks, and other contacts, though it answers where this home's server did."""
    home = tmp_path / "mine"
    home.mkdir()
    with _server_of(tmp_path / "other") as other, _held(4200):
        (home / "server.port").write_text(str(other))
        with local_server(home) as server:
            assert server.port not in {4200, other}
            assert _answers(server)


def test_a_server_whose_command_is_interrupted_while_it_starts_is_ended(tmp_path: Path) -> None:
    """It went on in the background, with nobody to end it, when a person pressed Ctrl-C in its first seconds."""
    started: list[LocalServer] = []

    def interrupted(server: LocalServer) -> None:
        started.append(server)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), local_server(tmp_path, meanwhile=interrupted):
        raise AssertionError("it was to be interrupted")
    assert started
    assert started[0].port
    assert not ServerFiles(tmp_path).runs()


def test_leases_survive_the_server(tmp_path: Path) -> None:
    """Leases are kept on disk: a server that is killed forgets none, so no slot is held for ever."""
    storage = server_environment(tmp_path, 4200)["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"]
    assert storage == "prefect.server.concurrency.lease_storage.filesystem"


@contextmanager
def _held(port: int) -> Iterator[None]:
    with socket.socket() as holder:
        # A server that has just left it keeps it from those who do not say so.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Where somebody else has it already, it is held as well.
        with suppress(OSError):
            holder.bind(("127.0.0.1", port))
            holder.listen()
        yield


@contextmanager
def _server_of(home: Path) -> Iterator[int]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answers as a Prefect server that is asked for its settings."""
            body = json.dumps({"home": str(home / "prefect")}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
