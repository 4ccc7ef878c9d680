"""The servers that are measured against: a MariaDB as servers are by default, and the sandbox."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pymysql

from tests.ports import free_port

__all__ = ["PROJECT", "MariaDB", "Sandbox", "running_mariadb", "running_sandbox"]

PROJECT = Path(__file__).resolve().parents[1]

_USER = "bench"
_START_SECONDS = 60
_STOP_SECONDS = 20
# Debian keeps the server in /usr/sbin, which is not on everybody's PATH.
_ENVIRONMENT = {**os.environ, "PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])}


class MariaDB:
    """A private MariaDB server, loopback only, on which a commit waits for the disk and LOCAL INFILE is allowed.

    Args:
        folder: Where its data go; must not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._password = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None

    def install(self) -> None:
        """Makes its data folder, with one user."""
        self._folder.mkdir()
        grants = self._folder / "grants.sql"
        grants.touch(mode=0o600)
        grants.write_text(
            f"FLUSH PRIVILEGES;\nCREATE USER {_USER}@'127.0.0.1' IDENTIFIED BY '{self._password}';\n"
            f"GRANT ALL ON *.* TO {_USER}@'127.0.0.1';\n"
        )
        command = ["mariadb-install-db", "--no-defaults", *_as_root(), f"--datadir={self._folder / 'data'}"]
        command += ["--skip-test-db", f"--extra-file={grants}"]
        subprocess.run(command, env=_ENVIRONMENT, stdout=subprocess.DEVNULL, check=True)  # noqa: S603  # our constants
        grants.unlink()

    def start(self) -> None:
        """Starts it and waits until it answers.

        Raises:
            RuntimeError: It does not come up.
        """
        folder = self._folder
        command = ["mariadbd", "--no-defaults", *_as_root(), f"--datadir={folder / 'data'}", f"--port={self._port}"]
        command += [f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}", f"--tmpdir={folder}"]
        command += ["--bind-address=127.0.0.1", "--skip-name-resolve", "--local-infile=1"]
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, env=_ENVIRONMENT, stderr=log)  # noqa: S603  # our constants
        end = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.execute("SELECT 1")
            except pymysql.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError("mariadbd does not start") from error
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """Ends it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Kills it and starts it again, with nothing in its memory."""
        self.kill()
        self.start()

    def connect(self, database: str | None = None) -> "pymysql.Connection[Any]":
        """Opens a connection with nothing between it and the server."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self._port,
            user=_USER,
            password=self._password,
            database=database,
            charset="utf8mb4",
            local_infile=True,
            init_command="SET time_zone = '+00:00'",
        )

    def url(self, database: str) -> str:
        """The URL of one database."""
        return f"mysql+pymysql://{_USER}:{self._password}@127.0.0.1:{self._port}/{database}"

    def client_options(self, folder: Path) -> list[str]:
        """The options by which the server's own client connects, its password in a file that only we can read."""
        file = folder / "client.cnf"
        file.touch(mode=0o600)
        file.write_text(
            f"[client]\nhost=127.0.0.1\nport={self._port}\nprotocol=tcp\nuser={_USER}\npassword={self._password}\n"
        )
        return [f"--defaults-file={file}"]

    def execute(self, *statements: str, database: str | None = None) -> None:
        """Runs statements, each committed."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            connection.autocommit(True)  # noqa: FBT003  # PyMySQL's own signature
            for statement in statements:
                cursor.execute(statement)

    @contextmanager
    def database(self) -> Iterator[str]:
        """An empty database, dropped afterwards; yields its name."""
        name = f"bench_{secrets.token_hex(4)}"
        self.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
        try:
            yield name
        finally:
            self.execute(f"DROP DATABASE {name}")


@contextmanager
def running_mariadb(folder: Path) -> Iterator[MariaDB]:
    """Runs a server while the block does.

    Args:
        folder: Where its data go; must not exist yet.

    Raises:
        RuntimeError: It does not come up.
    """
    server = MariaDB(folder)
    try:
        server.install()
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _as_root() -> list[str]:
    return ["-uroot"] if os.geteuid() == 0 else []


class Sandbox:
    """The sandbox, as a process of its own.

    Attributes:
        url: The base URL of its API.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._control = httpx.Client(base_url=f"{url.removesuffix('/v1.1')}/_sandbox", timeout=30, trust_env=False)

    def ledger(self) -> dict[str, Any]:
        """Fetches the sandbox's ledger."""
        ledger: dict[str, Any] = self._control.get("/ledger").raise_for_status().json()
        return ledger

    def operations(self) -> dict[str, int]:
        """Counts the requests that the sandbox has seen, by kind."""
        operations: dict[str, int] = self.ledger()["requests_by_operation"]
        return operations

    def upload(self, addresses: list[str]) -> str:
        """Makes a batch, beside all limits but its own; returns its id."""
        body = [{"email": address} for address in addresses]
        answer = httpx.post(f"{self.url}/email/verify/batch", json=body, headers={"x-api-key": "sandbox-key"})
        return str(answer.raise_for_status().json()["batchId"])

    def batches(self) -> list[dict[str, Any]]:
        """Its batches, in the order of their creation."""
        batches: list[dict[str, Any]] = self._control.get("/batches").raise_for_status().json()
        return batches

    def close(self) -> None:
        """Ends the connection to it."""
        self._control.close()


@contextmanager
def running_sandbox(seconds_a_batch: float, parallel: int = 15) -> Iterator[Sandbox]:
    """Runs a sandbox with Bouncer's documented limits, on which every batch takes the same time, beside the others.

    Args:
        seconds_a_batch: From the beginning of a batch to its completion.
        parallel: How many batches run side by side.
    """
    process = subprocess.Popen(  # noqa: S603  # our own interpreter and constants
        [
            *(sys.executable, "-m", "sandbox", "--port", "0"),
            f"--fixed-seconds={seconds_a_batch}",
            f"--parallel={parallel}",
        ],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if process.stdout is None:
            raise AssertionError("a pipe was asked for")
        sandbox = Sandbox(json.loads(process.stdout.readline())["url"])
        yield sandbox
        sandbox.close()
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)
