"""The local Prefect server that commands start for themselves where PREFECT_API_URL is not set.

All commands of one home share one server. Each holds a shared lock while it runs; the last to leave stops the server.
A lock dies with its process, so a server that outlived a kill -9 is found by the next command and used again.
"""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
from pydantic import SecretStr

from bouncer.errors import OrchestratorUnavailable
from deployments.server.entrance import USER, Entrance, server_environment
from deployments.server.home import make_home
from deployments.settings import without_secrets

__all__ = ["LocalServer", "local_server"]

_START_SECONDS = 90.0
_STOP_SECONDS = 10.0
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
        self._port_file = home / "server.port"
        self._process: subprocess.Popen[bytes] | None = None
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

    def ensure(self) -> None:
        """Makes sure that the server runs.

        Raises:
            OrchestratorUnavailable: It does not come up, or it runs with another entrance.
        """
        with _locked(self._home / "server.start.lock", fcntl.LOCK_EX):
            known = self._known_port()
            if known and self._answers(known):
                self.port = known
                return
            self.port = known if known and self._is_free(known) else self._free_port()
            try:
                self._start()
            except OrchestratorUnavailable:
                # It takes seconds to start, in which another program may take the port.
                if self._is_free(self.port):
                    raise
                self.port = self._free_port()
                self._start()
            self._port_file.write_text(str(self.port))

    def watch(self) -> None:
        """Looks after the server until ``stop``: a server that dies is started again, on the same port."""
        while not self._leaving.wait(2):
            if self._is_dead():
                with contextlib.suppress(OrchestratorUnavailable):
                    self.ensure()

    def leave(self) -> None:
        """Ends the watch."""
        self._leaving.set()

    def stop(self) -> None:
        """Stops the server, whoever started it."""
        pid = _pid_in(self._home / "server.pid")
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + _STOP_SECONDS
        while self._answers(self.port) or (self._process is not None and self._process.poll() is None):
            if time.monotonic() > end:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.1)
        (self._home / "server.pid").unlink(missing_ok=True)

    def _known_port(self) -> int | None:
        try:
            return int(self._port_file.read_text())
        except (OSError, ValueError):
            return None

    def _is_dead(self) -> bool:
        if self._process is not None:
            return self._process.poll() is not None
        # Another command started it and may be gone by now. Asked by its port: in a container, nobody may have buried
        # the process, which then still has its id.
        return not self._listens(self.port)

    def _listens(self, port: int) -> bool:
        try:
            socket.create_connection((self._entrance.reach, port), _ANSWER_SECONDS).close()
        except OSError:
            return False
        return True

    def _answers(self, port: int) -> bool:
        # A connection costs next to nothing; a client for HTTP costs 50 ms of a processor that a start needs itself.
        if not self._listens(port):
            return False
        # By its home: the port that this server had may be another home's by now, and with it other blocks.
        password = self._entrance.password
        try:
            answer = _settings_of(self._entrance.origin(port), password)
            if answer.status_code == httpx.codes.UNAUTHORIZED and _runs(_pid_in(self._home / "server.pid")):
                raise OrchestratorUnavailable(
                    "the local Prefect server runs with another password; set SERVER_PASSWORD as it was at its start"
                )
            if not answer.is_success or Path(answer.json()["home"]) != self._home / "prefect":
                return False
            if password is not None and _settings_of(self._entrance.origin(port), None).is_success:
                raise OrchestratorUnavailable(
                    "the local Prefect server runs without a password; end the other commands, which use it, first"
                )
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return False
        return True

    def _start(self) -> None:
        # Without keys and passwords: it finds them in its blocks, and has no use for them elsewhere.
        environment = {**without_secrets(os.environ), **server_environment(self._home, self.port, self._entrance)}
        with _opened_privately(self._home / "server.log") as log:
            command = [sys.executable, "-m", "deployments.server.prefect_program", "server", "start"]
            command += ["--host", self._entrance.host]
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and constants
                [*command, "--port", str(self.port)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Of its own session: an interrupt at the terminal is for the command, which still needs the server.
                start_new_session=True,
            )
        (self._home / "server.pid").write_text(str(self._process.pid))
        end = time.monotonic() + _START_SECONDS
        while not self._answers(self.port):
            if self._process.poll() is not None or time.monotonic() > end:
                # Nobody would find it, and it would keep the port.
                self._process.kill()
                raise OrchestratorUnavailable(f"the local Prefect server does not start; see {self._home}/server.log")
            time.sleep(0.1)

    def _is_free(self, port: int) -> bool:
        family = socket.AF_INET6 if ":" in self._entrance.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._entrance.host, port))
            except OSError:
                return False
        return True

    def _free_port(self) -> int:
        if self._is_free(_FIRST_PORT):
            return _FIRST_PORT
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])


@contextmanager
def local_server(home: Path, entrance: Entrance | None = None, *, keep: bool = False) -> Iterator[LocalServer]:
    """Runs the local server while the block does, together with the other commands of this home.

    Args:
        home: Where it keeps its files; made if it does not exist.
        entrance: How it is to be reached; by this machine only, and without a password, unless told.
        keep: Leave it running at the end.

    Yields:
        The server, which answers.

    Raises:
        OrchestratorUnavailable: It does not come up.
        SettingRefused: The folder of its files cannot be made.
    """
    make_home(home)
    server = LocalServer(home, entrance)
    with _locked(home / "server.users.lock", fcntl.LOCK_SH) as users:
        server.ensure()
        watch = threading.Thread(target=server.watch, name="server-watch", daemon=True)
        watch.start()
        try:
            yield server
        finally:
            server.leave()
            watch.join()
            if not keep and _is_last(users):
                server.stop()


@contextmanager
def _locked(path: Path, how: int) -> Iterator[int]:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield descriptor
    finally:
        os.close(descriptor)


def _is_last(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid_in(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _runs(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _settings_of(origin: str, password: SecretStr | None) -> httpx.Response:
    auth = None if password is None else (USER, password.get_secret_value())
    return httpx.get(f"{origin}/api/admin/settings", auth=auth, timeout=_ANSWER_SECONDS, trust_env=False)


@contextmanager
def _opened_privately(path: Path) -> Iterator[IO[bytes]]:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab") as file:
        yield file
