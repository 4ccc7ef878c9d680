"""Private MariaDB servers for tests: the one that this machine has, and a newer one out of the cache."""

import shutil
import subprocess
from pathlib import Path
from typing import ClassVar

from tests.database_server import CACHE, SYSTEM_PATH, DatabaseServer, as_root, environment

__all__ = ["MariaDB118Server", "MariaDBServer"]

_INSTALLER = "mariadb-install-db"
_SERVER = "mariadbd"
# What the operating system has taken outlives a killed server. What it saves is waiting for the disk, which only
# matters where the machine itself dies.
_WITHOUT_WAITING_FOR_THE_DISK = ("--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=2")


class MariaDBServer(DatabaseServer):
    """The MariaDB that this machine has installed."""

    NAME = "MariaDB"

    @classmethod
    def missing(cls) -> str | None:
        """Why no server can be started on this machine, or None where one can."""
        lacking = [program for program in (_SERVER, _INSTALLER) if shutil.which(program, path=SYSTEM_PATH) is None]
        return f"{' and '.join(lacking)} not found: apt-get install mariadb-server" if lacking else None

    def install(self, folder: Path) -> None:
        """Makes the server's data in a folder, with the user of tests.

        Raises:
            RuntimeError: It could not be made; the text holds what the installer said.
        """
        grants = folder / "grants.sql"
        grants.write_text(self.grants())
        done = subprocess.run(
            [
                _INSTALLER,
                "--no-defaults",
                f"--datadir={folder / 'data'}",
                "--skip-test-db",
                f"--extra-file={grants}",
                *as_root(),
            ],
            env=environment(folder),
            capture_output=True,
            text=True,
            check=False,
        )
        grants.unlink()
        if done.returncode:
            raise RuntimeError(f"{_INSTALLER} failed:\n{done.stdout}{done.stderr}")

    def command(self, folder: Path) -> list[str]:
        """The command line that runs the server on its data, without ``options``."""
        return [
            *self.program(),
            *as_root(),
            f"--datadir={folder / 'data'}",
            f"--socket={folder / 'socket'}",
            f"--pid-file={folder / 'pid'}",
            # Not the system's, where another server that starts would delete this one's temporary tables.
            f"--tmpdir={folder}",
            f"--log-error={folder / 'log.err'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            f"--collation-server={self.COLLATION}",
            "--innodb-buffer-pool-size=128M",
            "--max-connections=300",
            *(() if self.durable else _WITHOUT_WAITING_FOR_THE_DISK),
        ]

    def program(self) -> list[str]:
        """The server's program with what it needs to find its own files."""
        return [_SERVER, "--no-defaults"]

    def grants(self) -> str:
        """The statements that make the user of tests."""
        return (
            "FLUSH PRIVILEGES;\n"
            f"CREATE USER {self.USER}@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON *.* TO {self.USER}@'127.0.0.1' WITH GRANT OPTION;\n"
        )


class MariaDB118Server(MariaDBServer):
    """MariaDB 11.8, out of the cache that `.ci/fetch-servers` fills."""

    NAME = "MariaDB 11.8"
    _HOME: ClassVar[Path] = CACHE / "mariadb-11.8"
    # What its installer feeds to the server, which looks for the system's loader and so cannot be run.
    _TABLES: ClassVar[tuple[str, ...]] = (
        "mariadb_system_tables.sql",
        "mariadb_performance_tables.sql",
        "mariadb_system_tables_data.sql",
        "fill_help_tables.sql",
    )

    @classmethod
    def missing(cls) -> str | None:
        """Why no server can be started on this machine, or None where one can."""
        return None if (cls._HOME / "run").exists() else f"{cls.NAME} not found: run .ci/fetch-servers"

    def install(self, folder: Path) -> None:
        """Makes the server's data in a folder, with the user of tests.

        Raises:
            RuntimeError: It could not be made; the text holds what the server said.
        """
        (folder / "data").mkdir()
        share = self._HOME / "root/usr/share/mariadb"
        tables = "".join((share / name).read_text() for name in self._TABLES)
        done = subprocess.run(
            [*self.program(), *as_root(), f"--datadir={folder / 'data'}", f"--tmpdir={folder}", "--bootstrap"],
            input=f"CREATE DATABASE mysql;\nUSE mysql;\n{tables}\n{self.grants()}",
            env=environment(folder),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the data of {self.NAME} could not be made:\n{done.stderr[-2000:]}")

    def program(self) -> list[str]:
        """The server's program with what it needs to find its own files."""
        root = self._HOME / "root"
        return [
            str(self._HOME / "run"),
            str(root / "usr/sbin/mariadbd"),
            "--no-defaults",
            f"--basedir={root / 'usr'}",
            f"--lc-messages-dir={root / 'usr/share/mariadb'}",
            f"--character-sets-dir={root / 'usr/share/mariadb/charsets'}",
            f"--plugin-dir={root / 'usr/lib/mysql/plugin'}",
        ]
