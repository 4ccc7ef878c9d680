"""The small files by which commands of a home find its server: its port, its process, and the lock of its life."""

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bouncer.files.private_files import read_private, write_private
from deployments.protection import server_proof

__all__ = ["SERVER_HOME", "ServerFiles", "is_alone", "locked"]

SERVER_HOME = "BOUNCER_FLOWS_SERVER_HOME"
"""The variable that tells ``deployments.server.prefect_program`` whose server it is."""

_STOP_SECONDS = 10.0


class ServerFiles:
    """What is known of the server of a home.

    Args:
        home: The folder.
    """

    def __init__(self, home: Path) -> None:
        self._port = home / "server.port"
        self._process = home / "server.pid"
        self._secret = home / server_proof.FILE
        self._alive = home / "server.alive.lock"

    def port(self) -> int | None:
        """Where it listens, or did."""
        return _number_in(self._port)

    def note_port(self, port: int) -> None:
        """Writes down where it listens."""
        write_private(self._port, str(port))

    def note_process(self) -> None:
        """Writes down that this process is it."""
        write_private(self._process, str(os.getpid()))

    def runs(self) -> bool:
        """Whether a process that a command of this home started as its server is alive, whatever its number is now."""
        with locked(self._alive) as descriptor:
            return not _lock(descriptor, fcntl.LOCK_SH)

    @contextmanager
    def begun(self) -> Iterator[int]:
        """The lock that a server holds for as long as it lives, to be inherited by it, and by nobody else.

        Yields:
            The descriptor.

        Raises:
            BlockingIOError: Another server of this home is alive.
        """
        self._process.unlink(missing_ok=True)
        with locked(self._alive) as descriptor:
            # Whoever looks whether it is alive has the lock for a moment.
            end = time.monotonic() + 1
            while not _lock(descriptor, fcntl.LOCK_EX):
                if time.monotonic() > end:
                    raise BlockingIOError("another server of this home is alive")
                time.sleep(0.01)
            yield descriptor

    def kill(self) -> None:
        """Ends the server of this home, if it is alive; a number that has become another process's is left alone."""
        for number, patience in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _STOP_SECONDS)):
            process = _number_in(self._process)
            if process is None or not self.runs():
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, number)
            end = time.monotonic() + patience
            while self.runs() and time.monotonic() < end:
                time.sleep(0.1)

    def forget(self) -> None:
        """Takes the files away; the port may be anybody's from now on."""
        for file in (self._port, self._process, self._secret):
            file.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, how: int | None = None) -> Iterator[int]:
    """Opens a file of locks, and takes its lock where one is asked for.

    Args:
        path: The file; made where it is missing.
        how: The lock that is waited for.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    try:
        if how is not None:
            fcntl.flock(descriptor, how)
        yield descriptor
    finally:
        os.close(descriptor)


def is_alone(descriptor: int) -> bool:
    """Takes the lock, and tells whether it was free; from then on nobody else gets it."""
    return _lock(descriptor, fcntl.LOCK_EX)


def _lock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _number_in(path: Path) -> int | None:
    try:
        return int(read_private(path))
    except (OSError, ValueError):
        return None
