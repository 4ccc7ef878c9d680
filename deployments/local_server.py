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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from bouncer.errors import OrchestratorUnavailable

__all__ = ["LocalServer", "local_server", "server_environment"]

_START_SECONDS = 90.0
_STOP_SECONDS = 10.0
_ANSWER_SECONDS = 10.0
_FIRST_PORT = 4200


class LocalServer:
    """A Prefect server of our own, started if it does not run yet, and started again if it dies.

    Args:
        home: The folder of its database, leases and log.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._port_file = home / "server.port"
        self._process: subprocess.Popen[bytes] | None = None
        self._leaving = threading.Event()
        self.port = 0

    @property
    def api_url(self) -> str:
        """Where its API answers."""
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def ui_url(self) -> str:
        """Where its UI is to be seen."""
        return f"http://127.0.0.1:{self.port}"

    def ensure(self) -> None:
        """Makes sure that the server runs.

        Raises:
            OrchestratorUnavailable: It does not come up.
        """
        with _locked(self._home / "server.start.lock", fcntl.LOCK_EX):
            known = self._known_port()
            if known and self._answers(known):
                self.port = known
                return
            self.port = known if known and _is_free(known) else _free_port()
            try:
                self._start()
            except OrchestratorUnavailable:
                # It takes seconds to start, in which another program may take the port.
                if _is_free(self.port):
                    raise
                self.port = _free_port()
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
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) != 0

    def _answers(self, port: int) -> bool:
        # By its home: the port that this server had may be another home's by now, and with it other blocks.
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/api/admin/settings", timeout=_ANSWER_SECONDS, trust_env=False)
            return answer.is_success and Path(answer.json()["home"]) == self._home / "prefect"
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return False

    def _start(self) -> None:
        environment = {**os.environ, **server_environment(self._home, self.port)}
        with (self._home / "server.log").open("ab") as log:
            command = [sys.executable, "-m", "deployments.prefect_server", "server", "start", "--host", "127.0.0.1"]
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
                raise OrchestratorUnavailable(f"the local Prefect server does not start; see {self._home}/server.log")
            time.sleep(0.1)


def server_environment(home: Path, port: int) -> Mapping[str, str]:
    """The settings of a Prefect server that this project can rely on.

    Args:
        home: The folder of its database and leases.
        port: Where it listens.
    """
    return {
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": "",
        "PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api",
        # The default keeps leases in memory: a kill -9 of the server would leak its slots for ever.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


@contextmanager
def local_server(home: Path, *, keep: bool = False) -> Iterator[LocalServer]:
    """Runs the local server while the block does, together with the other commands of this home.

    Args:
        home: Where it keeps its files; made if it does not exist.
        keep: Leave it running at the end.

    Yields:
        The server, which answers.

    Raises:
        OrchestratorUnavailable: It does not come up.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    server = LocalServer(home)
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


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    if _is_free(_FIRST_PORT):
        return _FIRST_PORT
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
