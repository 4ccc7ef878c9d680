"""What the Prefect servers of the cluster keep their state in: PostgreSQL, and Redis for messages and leases."""

import os
import secrets
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.programs import Program, run_to_end, until
from tests.ports import free_port

__all__ = ["PostgreSQL", "Redis", "missing_packages", "program_path"]

_START_SECONDS = 60
# Debian keeps servers in /usr/sbin, and each version of PostgreSQL in a folder of its own; the newest comes first.
_PATH = os.pathsep.join(
    [
        os.environ.get("PATH", os.defpath),
        "/usr/sbin",
        *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True),
    ]
)
_PROGRAMS = {
    "postgres": "postgresql",
    "redis-server": "redis-server",
    "haproxy": "haproxy",
    "mariadbd": "mariadb-server",
}


def missing_packages() -> list[str]:
    """The Debian packages that this machine lacks."""
    return [package for program, package in _PROGRAMS.items() if shutil.which(program, path=_PATH) is None]


def program_path(name: str) -> str:
    """Where a server's program is.

    Raises:
        RuntimeError: It is not installed.
    """
    found = shutil.which(name, path=_PATH)
    if found is None:
        raise RuntimeError(f"{name} is not installed: apt-get install {_PROGRAMS.get(name, name)}")
    return found


class PostgreSQL:
    """A private PostgreSQL server, loopback only.

    Args:
        folder: Where its data go; must exist, and belongs to its user afterwards.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._password = secrets.token_hex(16)
        # It refuses to run as root, which CI often is; Debian's package brings a user for it.
        self._user = "postgres" if os.geteuid() == 0 else None
        data, environment = folder / "data", {"PATH": _PATH, "LC_ALL": "C.UTF-8"}
        options = {"port": self._port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder}
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        self._environment = environment
        self._data = data
        self.program = Program(
            "postgresql",
            [program_path("postgres"), "-D", str(data), *settings, "-c", "max_connections=300"],
            environment,
            folder,
            user=self._user,
        )

    @property
    def url(self) -> str:
        """The URL of Prefect's database, for its servers."""
        return f"postgresql+asyncpg://postgres:{self._password}@127.0.0.1:{self._port}/prefect"

    def start(self) -> None:
        """Makes its data, starts it, and makes Prefect's database."""
        secret = self._folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(self._password)
        if self._user is not None:
            for path in (self._folder, secret):
                shutil.chown(path, self._user, self._user)
        how = ["--username=postgres", f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8"]
        self._run("initdb", "-D", str(self._data), "--no-sync", *how)
        self.program.start()
        until(lambda: _listens(self._port), "PostgreSQL", _START_SECONDS, [self.program])
        where = ["--host=127.0.0.1", f"--port={self._port}", "--username=postgres"]
        until(lambda: self._answers(where), "PostgreSQL", _START_SECONDS, [self.program])

    def _answers(self, where: list[str]) -> bool:
        try:
            self._run("createdb", *where, "prefect")
        except RuntimeError as error:
            if "starting up" in str(error):
                return False
            raise
        return True

    def _run(self, name: str, *arguments: str) -> None:
        environment = {**self._environment, "PGPASSWORD": self._password}
        run_to_end(name, [program_path(name), *arguments], environment, self._folder, user=self._user)


class Redis:
    """A private Redis server, loopback only.

    Args:
        folder: Where its log goes, and its data.
        program: Runs it, without options; the one that is installed if left out.
        durable: Whether it keeps a log of all changes on disk, else nothing.
    """

    def __init__(self, folder: Path, program: Sequence[str] = (), *, durable: bool = False) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self.program = Program(
            "redis",
            [
                *(program or [program_path("redis-server")]),
                *where,
                *("--save", ""),
                *("--appendonly", "yes" if durable else "no"),
            ],
            {"PATH": _PATH},
            folder,
        )

    def start(self) -> None:
        """Starts it and waits until it answers."""
        self.program.start()
        until(lambda: _listens(self.port), "Redis", _START_SECONDS, [self.program])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
