"""A private MariaDB server for tests: its own data, port and socket, loopback only, gone with the test run."""

import atexit
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pymysql
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.ports import free_port

__all__ = ["MariaDBServer"]

_USER = "test"
_INSTALLER = "mariadb-install-db"
_SERVER = "mariadbd"
_START_SECONDS = 60
# What the operating system has taken outlives a killed server. What it saves is waiting for the disk, which only
# matters where the machine itself dies.
_WITHOUT_WAITING_FOR_THE_DISK = ("--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=2")
# Ends the server and takes its folder away once the tests' process is gone, however it went: its end of the pipe
# closes even after kill -9.
_WATCH = 'read -r _; kill -9 "$1"; rm -rf "$2"'


class MariaDBServer:
    """A MariaDB server in a temporary folder, which can be killed and started again.

    Args:
        durable: Whether a commit waits for the disk, as servers do by default.
        options: What the server is told besides, as on its command line.
    """

    def __init__(self, *, durable: bool = False, options: Sequence[str] = ()) -> None:
        self._more = options
        self._durable = durable
        self._password = secrets.token_hex(16)
        self._folder: Path | None = None
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    @staticmethod
    def missing() -> str | None:
        """Why no server can be started on this machine, or None where one can."""
        lacking = [program for program in (_SERVER, _INSTALLER) if shutil.which(program, path=_PATH) is None]
        return f"{' and '.join(lacking)} not found: apt-get install mariadb-server" if lacking else None

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
            self._folder = Path(tempfile.mkdtemp(prefix="mariadb-"))
            self._install(self._folder)
            self._port = free_port()
        self._process = subprocess.Popen(
            [_SERVER, "--no-defaults", *self._options(self._folder)],
            env=_environment(self._folder),
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
                    raise RuntimeError(f"{_SERVER} did not start:\n{self._log()}")
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
        return f"mysql+pymysql://{_USER}:{self._password}@127.0.0.1:{self._port}/{database}"

    def create_database(self) -> str:
        """Creates an empty database under a name of its own.

        Returns:
            The name.
        """
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
        return name

    def drop_database(self, name: str) -> None:
        """Drops a database; whoever still holds a transaction open in it makes this fail, not wait."""
        self.execute("SET lock_wait_timeout = 10", f"DROP DATABASE {name}")

    def execute(self, *statements: str, database: str | None = None) -> None:
        """Runs statements on a connection of its own."""
        with (
            pymysql.connect(
                host="127.0.0.1",
                port=self._port,
                user=_USER,
                password=self._password,
                database=database,
                autocommit=True,
                connect_timeout=10,
            ) as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)

    def _install(self, folder: Path) -> None:
        grants = folder / "grants.sql"
        grants.write_text(
            "FLUSH PRIVILEGES;\n"
            f"CREATE USER {_USER}@'127.0.0.1' IDENTIFIED BY '{self._password}';\n"
            f"GRANT ALL ON *.* TO {_USER}@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        done = subprocess.run(
            [
                _INSTALLER,
                "--no-defaults",
                f"--datadir={folder / 'data'}",
                "--skip-test-db",
                f"--extra-file={grants}",
                *_as_root(),
            ],
            env=_environment(folder),
            capture_output=True,
            text=True,
            check=False,
        )
        grants.unlink()
        if done.returncode:
            raise RuntimeError(f"{_INSTALLER} failed:\n{done.stdout}{done.stderr}")

    def _options(self, folder: Path) -> list[str]:
        return [
            *_as_root(),
            *self._more,
            f"--datadir={folder / 'data'}",
            f"--socket={folder / 'socket'}",
            f"--pid-file={folder / 'pid'}",
            # Not the system's, where another server that starts would delete this one's temporary tables.
            f"--tmpdir={folder}",
            f"--log-error={folder / 'log'}",
            f"--port={self._port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_unicode_ci",
            "--innodb-buffer-pool-size=128M",
            "--max-connections=300",
            *(() if self._durable else _WITHOUT_WAITING_FOR_THE_DISK),
        ]

    def _log(self) -> str:
        log = (self._folder or Path()) / "log"
        return log.read_text()[-2000:] if log.exists() else "(no log)"


# Debian keeps the server in /usr/sbin, which is not on everybody's PATH.
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])


def _environment(folder: Path) -> dict[str, str]:
    # A server that starts clears away the temporary tables in its TMPDIR, those of another server's installer too.
    return {**os.environ, "PATH": _PATH, "TMPDIR": str(folder)}


def _as_root() -> list[str]:
    # The server runs as root only when told so; told by --user, the installer would also change modes in /usr/lib.
    return ["-uroot"] if os.geteuid() == 0 else []
