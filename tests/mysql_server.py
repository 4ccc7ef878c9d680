"""A private MySQL server for tests, out of the cache that `.ci/fetch-servers` fills."""

import subprocess
from pathlib import Path
from typing import ClassVar

from tests.database_server import CACHE, DatabaseServer, as_root, environment, log_of

__all__ = ["MySQLServer"]

# As for MariaDB; and with less in memory, since the tests of each process start a server of their own.
_SMALL = ("--performance-schema=OFF", "--innodb-redo-log-capacity=32M")
_WITHOUT_WAITING_FOR_THE_DISK = (
    "--innodb-flush-method=nosync",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-doublewrite=OFF",
    "--skip-log-bin",
)


class MySQLServer(DatabaseServer):
    """MySQL 9.7."""

    NAME = "MySQL 9.7"
    _HOME: ClassVar[Path] = CACHE / "mysql-9.7"

    @classmethod
    def missing(cls) -> str | None:
        """Why no server can be started on this machine, or None where one can."""
        return None if (cls._HOME / "run").exists() else f"{cls.NAME} not found: run .ci/fetch-servers"

    def install(self, folder: Path) -> None:
        """Makes the server's data in a folder, with the user of tests.

        Raises:
            RuntimeError: It could not be made; the text holds what the server said.
        """
        grants = folder / "grants.sql"
        grants.write_text(
            f"CREATE USER {self.USER}@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON *.* TO {self.USER}@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        # Options such as lower_case_table_names matter when the data is made; plugins are not there yet.
        when_made = [option for option in self.options if option.startswith("--lower-case-table-names")]
        done = subprocess.run(
            [*self._program(folder), "--initialize-insecure", f"--init-file={grants}", *when_made],
            env=environment(folder),
            capture_output=True,
            check=False,
        )
        grants.unlink()
        if done.returncode:
            raise RuntimeError(f"the data of {self.NAME} could not be made:\n{log_of(folder)}")

    def command(self, folder: Path) -> list[str]:
        """The command line that runs the server on its data, without ``options``."""
        return [
            *self._program(folder),
            f"--socket={folder / 'socket'}",
            f"--pid-file={folder / 'pid'}",
            f"--tmpdir={folder}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--mysqlx=OFF",
            "--secure-file-priv=",
            "--skip-name-resolve",
            "--max-connections=300",
            # As on MariaDB, whose default it is.
            "--local-infile=ON",
        ]

    def _program(self, folder: Path) -> list[str]:
        root = self._HOME / "root/usr"
        return [
            str(self._HOME / "run"),
            str(root / "sbin/mysqld"),
            "--no-defaults",
            *as_root(),
            f"--datadir={folder / 'data'}",
            f"--log-error={folder / 'log.err'}",
            f"--lc-messages-dir={root / 'share/mysql'}",
            f"--character-sets-dir={root / 'share/mysql/charsets'}",
            f"--plugin-dir={root / 'lib/mysql/plugin'}",
            *_SMALL,
            *(() if self.durable else _WITHOUT_WAITING_FOR_THE_DISK),
        ]
