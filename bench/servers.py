"""The servers that are measured against: database servers as they are by default, and the sandbox."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pymysql

from tests.database_server import DatabaseServer
from tests.mysql_server import MySQLServer

__all__ = ["PROJECT", "Sandbox", "Server", "running_sandbox", "running_server"]

PROJECT = Path(__file__).resolve().parents[1]

_STOP_SECONDS = 20
# The tests' server has less, since each process of theirs has one.
_AS_BY_DEFAULT = (
    "--performance-schema=ON",
    "--innodb-redo-log-capacity=100M",
    "--cte-max-recursion-depth=4294967295",
)


class Server:
    """A private database server as it is by default, loopback only: a commit waits for the disk.

    LOCAL INFILE is allowed.

    Args:
        kind: The kind of server.
    """

    def __init__(self, kind: type[DatabaseServer]) -> None:
        self.name = kind.NAME
        self._is_mysql = kind is MySQLServer
        self._server = kind(durable=True, options=_AS_BY_DEFAULT if self._is_mysql else ())

    def restart(self) -> None:
        """Kills it and starts it again, with nothing in its memory."""
        self._server.kill()
        self._server.start()

    def stop(self) -> None:
        """Ends it, and removes its data."""
        self._server.stop()

    def numbers(self, last: int) -> str:
        """The numbers from 1 on, as a table with the column ``seq``."""
        if not self._is_mysql:
            return f"seq_1_to_{last}"
        counted = f"SELECT 1 UNION ALL SELECT seq + 1 FROM counted WHERE seq < {last}"  # noqa: S608  # a number
        return f"(WITH RECURSIVE counted (seq) AS ({counted}) SELECT seq FROM counted) AS numbers"  # noqa: S608  # as above

    def connect(self, database: str | None = None) -> "pymysql.Connection[Any]":
        """Opens a connection with nothing between it and the server."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self._server.port,
            user=self._server.USER,
            password=self._server.password,
            database=database,
            charset="utf8mb4",
            local_infile=True,
            init_command="SET time_zone = '+00:00'",
        )

    def url(self, database: str) -> str:
        """The URL of one database."""
        return self._server.url(database)

    def client_options(self, folder: Path) -> list[str]:
        """The options by which MariaDB's own client connects, its password in a file that only we can read."""
        file = folder / "client.cnf"
        file.touch(mode=0o600)
        file.write_text(
            f"[client]\nhost=127.0.0.1\nport={self._server.port}\nprotocol=tcp\nuser={self._server.USER}\n"
            f"password={self._server.password}\n"
        )
        return [f"--defaults-file={file}"]

    def execute(self, *statements: str, database: str | None = None) -> None:
        """Runs statements, each committed."""
        self._server.execute(*statements, database=database)

    @contextmanager
    def database(self) -> Iterator[str]:
        """An empty database, dropped afterwards; yields its name."""
        name = self._server.create_database()
        try:
            yield name
        finally:
            self._server.drop_database(name)


@contextmanager
def running_server(kind: type[DatabaseServer]) -> Iterator[Server]:
    """Runs a server while the block does.

    Args:
        kind: The kind of server.

    Raises:
        RuntimeError: It is not on this machine, or does not come up.
    """
    if reason := kind.missing():
        raise RuntimeError(reason)
    server = Server(kind)
    try:
        server.restart()
        yield server
    finally:
        server.stop()


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
