"""Private database servers for tests: their own data, port and socket, loopback only, gone with the test run."""

import atexit
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import pymysql
import pytest
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.ports import free_port

__all__ = ["CACHE", "EVERY_SERVER", "SYSTEM_PATH", "DatabaseServer", "as_root", "environment", "log_of", "skip_or_fail"]

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bouncer-flows"
"""Where `.ci/fetch-servers` unpacks the servers that this machine has not installed."""

EVERY_SERVER = ("mariadb", "mysql", pytest.param("mariadb118", marks=pytest.mark.thorough))
"""The names of the servers' fixtures. The newer MariaDB differs little from the older, so CI's time is spent on two."""

# Debian keeps servers in /usr/sbin, which is not on everybody's PATH.
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])

_START_SECONDS = 60
# Ends the server and takes its folder away once the tests' process is gone, however it went: its end of the pipe
# closes even after kill -9.
_WATCH = 'read -r _; kill -9 "$1"; rm -rf "$2"'


class DatabaseServer:
    """A database server in a temporary folder, which can be killed and started again.

    Args:
        durable: Whether a commit waits for the disk, as servers do by default.
        options: What the server is told besides, as on its command line.
        zone: The machine's time zone, as the server finds it in TZ.

    Attributes:
        NAME: What people call it.
        USER: The user that tests connect as, who may do everything.
        COLLATION: What databases compare texts by, unless an application says otherwise.
    """

    NAME: ClassVar[str]
    USER: ClassVar[str] = "test"
    COLLATION: ClassVar[str] = "utf8mb4_unicode_ci"

    def __init__(self, *, durable: bool = False, options: Sequence[str] = (), zone: str = "UTC") -> None:
        self.options = tuple(options)
        self.zone = zone
        self.durable = durable
        self.password = secrets.token_hex(16)
        self.port = 0
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls) -> str | None:
        """Why no server can be started on this machine, or None where one can."""
        raise NotImplementedError

    @property
    def data(self) -> Path:
        """The folder of its data, while it runs."""
        if self._folder is None:
            raise RuntimeError(f"{self.NAME} was not started")
        return self._folder / "data"

    def install(self, folder: Path) -> None:
        """Makes the server's data in a folder, with the user of tests.

        Raises:
            RuntimeError: It could not be made; the text holds what the server said.
        """
        raise NotImplementedError

    def command(self, folder: Path) -> list[str]:
        """The command line that runs the server on its data, without ``options``."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the server, on the data and the port that it had before, and waits until it answers.

        Raises:
            RuntimeError: The server did not come up; the text holds the end of its log.
        """
        if self._folder is None:
            atexit.register(self.stop)
            self._folder = Path(tempfile.mkdtemp(prefix=f"{self.NAME.split()[0].lower()}-"))
            self.install(self._folder)
            self.port = free_port()
        self._process = subprocess.Popen(
            [*self.command(self._folder), *self.options],
            env={**environment(self._folder), "TZ": self.zone},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._watcher = subprocess.Popen(
            ["sh", "-c", _WATCH, "sh", str(self._process.pid), str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for attempt in Retrying(
            retry=retry_if_exception_type(pymysql.OperationalError),
            wait=wait_fixed(0.02),
            stop=stop_after_delay(_START_SECONDS),
            reraise=True,
        ):
            with attempt:
                if self._process.poll() is not None:
                    raise RuntimeError(f"{self.NAME} did not start:\n{log_of(self._folder)}")
                self.execute("SELECT 1")

    def kill(self) -> None:
        """Ends the server with SIGKILL, as the OOM killer would."""
        # The watcher first: once the server is reaped, its process id may be somebody else's.
        if self._watcher is not None and self._watcher.stdin is not None:
            self._watcher.kill()
            self._watcher.wait()
            self._watcher.stdin.close()
            self._watcher = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Ends the server for good and removes its data; stopping twice is allowed."""
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def url(self, database: str) -> str:
        """The database URL of one database on this server."""
        return f"mysql+pymysql://{self.USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> str:
        """Creates an empty database under a name of its own.

        Returns:
            The name.
        """
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE {self.COLLATION}")
        return name

    def drop_database(self, name: str) -> None:
        """Drops a database; whoever still holds a transaction open in it makes this fail, not wait."""
        self.execute("SET lock_wait_timeout = 10", f"DROP DATABASE {name}")

    def execute(self, *statements: str, database: str | None = None) -> None:
        """Runs statements on a connection of its own."""
        with (
            pymysql.connect(
                host="127.0.0.1",
                port=self.port,
                user=self.USER,
                password=self.password,
                database=database,
                autocommit=True,
                connect_timeout=10,
            ) as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)


def environment(folder: Path) -> dict[str, str]:
    """What a server's programs find in their environment."""
    # A server that starts clears away the temporary tables in its TMPDIR, those of another server's installer too.
    return {**os.environ, "PATH": SYSTEM_PATH, "TMPDIR": str(folder)}


def as_root() -> list[str]:
    """The option without which a server does not run as root."""
    # Told by --user, MariaDB's installer would also change modes in /usr/lib.
    return ["-uroot"] if os.geteuid() == 0 else []


def skip_or_fail(reason: str | None) -> None:
    """Skips a test for a reason, or fails it in CI, where nothing may be skipped."""
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


def log_of(folder: Path) -> str:
    """The end of the server's log."""
    log = folder / "log.err"
    return log.read_text(errors="replace")[-2000:] if log.exists() else "(no log)"
