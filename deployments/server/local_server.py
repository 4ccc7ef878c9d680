"""The local Prefect server that commands start for themselves where PREFECT_API_URL is not set.

All commands of one home share one server. Each holds a shared lock while it runs; the last to leave stops the server.
A lock dies with its process, so a server that outlived a kill -9 is found by the next command and used again.

Nothing is sent to a server, and nothing killed, that has not proven to be this home's:
``deployments.protection.server_proof`` and ``deployments.server.server_files`` say how.
"""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import httpx
from pydantic import SecretStr

from bouncer.api.tls import tls_of
from bouncer.errors import OrchestratorUnavailable
from deployments.protection.http_server import listening_socket
from deployments.protection.server_proof import new_secret, proves_itself
from deployments.protection.working_folder import python_module, working_folder
from deployments.server.entrance import USER, Entrance, server_environment
from deployments.server.home import make_home
from deployments.server.prefect_tables import lay_tables
from deployments.server.reserved_port import SERVER_SOCKET
from deployments.server.server_files import SERVER_HOME, ServerFiles, is_alone, locked
from deployments.settings import without_secrets
from deployments.terminal.console import say

__all__ = ["LocalServer", "local_server"]

_START_SECONDS = 90.0
_PATIENCE_SECONDS = 30.0
_ANSWER_SECONDS = 10.0
_FIRST_PORT = 4200


class LocalServer:
    """A Prefect server of our own, started if it does not run yet, and started again if it dies.

    Args:
        home: The folder of its database, leases and log.
        entrance: How it is to be reached.
    """

    def __init__(self, home: Path, entrance: Entrance | None = None) -> None:
        self._home = home
        self._entrance = entrance or Entrance()
        self._files = ServerFiles(home)
        self._socket: socket.socket | None = None
        self._leaving = threading.Event()
        self.port = 0

    @property
    def api_url(self) -> str:
        """Address of the API."""
        return f"{self._entrance.origin(self.port)}/api"

    @property
    def ui_url(self) -> str:
        """Address of the UI."""
        return self._entrance.ui_url(self.port)

    def ensure(self, meanwhile: Callable[[], None] | None = None) -> None:
        """Makes sure that the server runs.

        Args:
            meanwhile: Called once, as soon as its port is known, which is before it answers where it must be started.

        Raises:
            OrchestratorUnavailable: It does not come up, it runs with another entrance, or its port is taken.
        """
        with locked(self._home / "server.start.lock", fcntl.LOCK_EX):
            known = self._files.port()
            if self._files.runs() and known and self._answers_soon(known):
                self.port = known
                if meanwhile is not None:
                    meanwhile()
                return
            # One of ours that does not answer is of no use to anybody, and has the database open.
            self._files.kill()
            self._listen(known)
            try:
                self._start(meanwhile)
            except OrchestratorUnavailable:
                self._close()
                raise

    def watch(self) -> None:
        """Looks after the server until ``stop``: a server that dies is started again, on the same port."""
        while not self._leaving.wait(2):
            if not self._files.runs():
                with contextlib.suppress(OrchestratorUnavailable):
                    self.ensure()

    def leave(self) -> None:
        """Ends the watch."""
        self._leaving.set()

    def stop(self) -> None:
        """Stops the server, whoever started it."""
        self._files.kill()
        self._files.forget()
        self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _listen(self, known: int | None) -> None:
        # Kept by this process too: were the server to die, nobody else could take the port while it is started again.
        if self._socket is not None:
            return
        if self.port:
            # What runs here goes on to talk to this port, so another one would help nobody.
            self._socket = self._bound(self.port)
            if self._socket is None:
                say(f"port {self.port} of the local Prefect server was taken by another program; this command ends")
                os.kill(os.getpid(), signal.SIGTERM)
                raise OrchestratorUnavailable(f"port {self.port} was taken by another program")
            return
        for port in (*([known] if known else []), _FIRST_PORT, 0):
            self._socket = self._bound(port)
            if self._socket is not None:
                self.port = int(self._socket.getsockname()[1])
                return
        raise OrchestratorUnavailable(f"SERVER_HOST {self._entrance.host} cannot be listened on; name another")

    def _bound(self, port: int) -> socket.socket | None:
        try:
            return listening_socket(self._entrance.host, port)
        except OSError:
            return None

    def _answers_soon(self, port: int) -> bool:
        end = time.monotonic() + _PATIENCE_SECONDS
        while not self._answers(port):
            if not self._files.runs() or time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True

    def _answers(self, port: int) -> bool:
        origin = self._entrance.origin(port)
        # A connection costs next to nothing; a client for HTTP costs 50 ms of a processor that a start needs itself.
        if not self._listens(port) or not proves_itself(self._home, origin, seconds=_ANSWER_SECONDS):
            return False
        password = self._entrance.password
        try:
            answer = _settings_of(origin, password)
            if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                raise OrchestratorUnavailable(
                    "the local Prefect server was sent many wrong passwords; wait a minute, then run the same again"
                )
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                raise OrchestratorUnavailable(
                    "the local Prefect server runs with another password; set SERVER_PASSWORD as it was at its start"
                )
            if not answer.is_success:
                return False
            if password is not None and _settings_of(origin, None).is_success:
                raise OrchestratorUnavailable(
                    "the local Prefect server runs without a password; end the other commands, which use it, first"
                )
        except httpx.HTTPError:
            return False
        return True

    def _listens(self, port: int) -> bool:
        try:
            socket.create_connection((self._entrance.reach, port), _ANSWER_SECONDS).close()
        except OSError:
            return False
        return True

    def _start(self, meanwhile: Callable[[], None] | None) -> None:
        if self._socket is None:
            raise AssertionError("a server is started on a socket")
        # Without keys and passwords: it finds them in its blocks, and has no use for them elsewhere.
        environment = {**without_secrets(os.environ), **server_environment(self._home, self.port, self._entrance)}
        new_secret(self._home)
        with self._files.begun() as alive, _opened_privately(self._home / "server.log") as log:
            lay_tables(environment)
            # Prefect looks whether the port is free; ours is taken by the socket that the server is given.
            command = [*python_module("deployments.server.prefect_program"), "server", "start"]
            process = subprocess.Popen(  # noqa: S603  # our own interpreter and constants
                [*command, "--host", self._entrance.host, "--port", "0"],
                env={**environment, SERVER_HOME: str(self._home), SERVER_SOCKET: str(self._socket.fileno())},
                cwd=working_folder(self._home),
                pass_fds=(alive, self._socket.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Of its own session: an interrupt at the terminal is for the command, which still needs the server.
                start_new_session=True,
            )
        # Buries it when it dies.
        threading.Thread(target=process.wait, name="server-process", daemon=True).start()
        self._files.note_port(self.port)
        try:
            if meanwhile is not None:
                meanwhile()
            self._wait_for_an_answer()
        except BaseException:
            # Interrupted or not: nobody would find it, and it would keep the port.
            process.kill()
            process.wait()
            raise

    def _wait_for_an_answer(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while not self._answers(self.port):
            if not self._files.runs() or time.monotonic() > end:
                raise OrchestratorUnavailable(f"the local Prefect server does not start; see {self._home}/server.log")
            time.sleep(0.1)


@contextmanager
def local_server(
    home: Path,
    entrance: Entrance | None = None,
    *,
    keep: bool = False,
    meanwhile: Callable[[LocalServer], None] | None = None,
) -> Iterator[LocalServer]:
    """Runs the local server while the block does, together with the other commands of this home.

    Args:
        home: Where it keeps its files; made if it does not exist.
        entrance: How it is to be reached; by this machine only, and without a password, unless told.
        keep: Leave it running at the end.
        meanwhile: Called once, as soon as the server's address is known, which is seconds before one that must be
            started answers.

    Yields:
        The server, which answers.

    Raises:
        OrchestratorUnavailable: It does not come up.
        SettingRefused: The folder of its files cannot be made.
    """
    make_home(home)
    server = LocalServer(home, entrance)
    with locked(home / "server.users.lock", fcntl.LOCK_SH) as users:
        server.ensure(None if meanwhile is None else partial(meanwhile, server))
        watch = threading.Thread(target=server.watch, name="server-watch", daemon=True)
        watch.start()
        try:
            yield server
        finally:
            server.leave()
            watch.join()
            if not keep and is_alone(users):
                server.stop()


def _settings_of(origin: str, password: SecretStr | None) -> httpx.Response:
    auth = None if password is None else (USER, password.get_secret_value())
    url = f"{origin}/api/admin/settings"
    return httpx.get(url, auth=auth, timeout=_ANSWER_SECONDS, trust_env=False, verify=tls_of(url))


@contextmanager
def _opened_privately(path: Path) -> Iterator[IO[bytes]]:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab") as file:
        yield file
