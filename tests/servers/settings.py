"""Settings that servers are found with, and the kinds of server that each one exists on."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.bouncer.storage.migrations.plan_ddl import APPLICATION
from tests.database_server import DatabaseServer
from tests.mariadb_server import MariaDB118Server, MariaDBServer
from tests.mysql_server import MySQLServer

__all__ = ["SETTINGS", "Setting"]

Kinds = tuple[type[DatabaseServer], ...]

_MYSQL: Kinds = (MySQLServer,)
_MARIADB: Kinds = (MariaDB118Server, MariaDBServer)
_EVERY: Kinds = (*_MYSQL, *_MARIADB)

_LOG = ("--log-bin=bin", "--server-id=1")
_GROUP = (
    *_LOG,
    "--performance-schema=ON",
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
    "--plugin-load-add=group_replication.so",
    "--group-replication-group-name=6f1c1f2e-55a1-4b7c-9a53-0d6f2c7b8e11",
    "--group-replication-local-address=127.0.0.1:{free_port}",
    "--group-replication-bootstrap-group=ON",
    "--group-replication-start-on-boot=ON",
)
_ODD = (
    "--sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES",
    "--transaction-isolation=SERIALIZABLE",
    "--default-time-zone=+05:30",
    "--max-allowed-packet=1M",
    "--wait-timeout=5",
    "--max-connections=10",
    "--autocommit=0",
    "--init-connect=SET sql_safe_updates=1",
    "--lower-case-table-names=1",
    "--character-set-server=latin1",
    "--collation-server=latin1_german1_ci",
)
_ODD_NAMES = (
    "sql_mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES, SERIALIZABLE, +05:30, max_allowed_packet=1M, wait_timeout=5, "
    "max_connections=10, autocommit=0, sql_safe_updates=1, lower_case_table_names=1, latin1"
)
_TLS = ("--require-secure-transport=ON", "--ssl-ca={authority}", "--ssl-cert={certificate}", "--ssl-key={key}")
_OF_ANOTHER_NAME = tuple(option.replace("{", "{other_") if "authority" not in option else option for option in _TLS)
_UNIQUE = "ALTER TABLE Contacts_Global ADD UNIQUE KEY (email)"
_READ_ONLY_SECONDS = 12
# Past the server's start, the tables and the import, so that it comes while batches are at Bouncer.
_SECONDS_TO_THE_REPEATED_HOUR = 25


@dataclass(frozen=True)
class Setting:
    """A setting of a server or a database, and what is special about working with it.

    Attributes:
        name: For people.
        kinds: The kinds of server that know it.
        options: The server's options; ``{authority}``, ``{certificate}``, ``{key}`` and ``{free_port}`` are filled in.
        query: Parameters of the database URL; ``{data}`` is the folder of the server's data.
        tables: Statements that an application has run in the database before.
        zone: The machine's time zone; asked for as the server is started.
        meanwhile: Done to the server while batches are at Bouncer.
        batch_seconds: How long a batch is there.
        refused: Words of the line by which ``setup`` refuses it; empty where it is to work.
    """

    name: str
    kinds: Kinds = _EVERY
    options: tuple[str, ...] = ()
    query: str = ""
    tables: tuple[str, ...] = ()
    zone: Callable[[], str] = lambda: "UTC"
    meanwhile: Callable[[DatabaseServer], None] | None = None
    batch_seconds: float = 1.0
    refused: str = ""


def _with_repeated_hour() -> str:
    # An hour of daylight saving time that ends in a moment, whatever the day: POSIX lets a zone be made up.
    end = datetime.now(UTC) + timedelta(seconds=_SECONDS_TO_THE_REPEATED_HOUR, hours=1)
    day = end.timetuple().tm_yday
    leap = datetime(end.year, 12, 31, tzinfo=UTC).timetuple().tm_yday == 366
    # Its days are counted without the 29th of February.
    return f"AAA0BBB,J1/0,J{day - (leap and day > 59)}/{end:%H:%M:%S}"


def _read_only(server: DatabaseServer) -> None:
    server.execute("SET GLOBAL read_only = ON")
    time.sleep(_READ_ONLY_SECONDS)
    server.execute("SET GLOBAL read_only = OFF")


def _application(old: str, new: str, *more: str) -> tuple[str, ...]:
    return (*(statement.replace(old, new) for statement in APPLICATION), *more)


SETTINGS: tuple[Setting, ...] = (
    Setting("defaults"),
    Setting(f"at once: sql_require_primary_key=ON, {_ODD_NAMES}", _MYSQL, (*_ODD, "--sql-require-primary-key=ON")),
    Setting(f"at once: innodb_force_primary_key=ON, {_ODD_NAMES}", _MARIADB, (*_ODD, "--innodb-force-primary-key=ON")),
    Setting(
        "at once: sql_mode=TRADITIONAL,NO_BACKSLASH_ESCAPES, `?local_infile=1`, READ-COMMITTED, binary log, the hour "
        "that comes twice, TLS with `ssl_ca`, adopted tables in utf8mb4_bin with keys of bigint unsigned and UNIQUE "
        "addresses",
        options=(
            *_TLS,
            *_LOG,
            "--sql-mode=TRADITIONAL,NO_BACKSLASH_ESCAPES",
            "--transaction-isolation=READ-COMMITTED",
        ),
        query="local_infile=1&ssl_ca={authority}",
        tables=tuple(
            statement.replace("utf8mb4_unicode_ci", "utf8mb4_bin")
            for statement in _application("int AUTO_INCREMENT", "bigint unsigned AUTO_INCREMENT", _UNIQUE)
        ),
        zone=_with_repeated_hour,
        batch_seconds=8,
    ),
    Setting(
        "at once: sql_mode='', `?local_infile=1`, `ssl_mode=VERIFY_CA` with a certificate for another name, adopted "
        "tables in latin1_swedish_ci",
        options=(*_OF_ANOTHER_NAME, "--sql-mode="),
        query="local_infile=1&ssl_mode=VERIFY_CA&ssl_ca={authority}",
        tables=_application("CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci", "CHARSET=latin1 COLLATE=latin1_swedish_ci"),
    ),
    Setting(
        "a replicating primary: GTIDs enforced, binary log",
        _MYSQL,
        (*_LOG, "--gtid-mode=ON", "--enforce-gtid-consistency=ON"),
    ),
    Setting("a replicating primary: GTIDs strict, binary log", _MARIADB, (*_LOG, "--gtid-strict-mode=ON")),
    Setting("sql_require_primary_key=ON", _MYSQL, ("--sql-require-primary-key=ON",)),
    Setting(
        "sql_require_primary_key=ON, sql_generate_invisible_primary_key=ON",
        _MYSQL,
        ("--sql-require-primary-key=ON", "--sql-generate-invisible-primary-key=ON"),
    ),
    Setting("innodb_force_primary_key=ON", _MARIADB, ("--innodb-force-primary-key=ON",)),
    Setting("sql_mode=ANSI_QUOTES", options=("--sql-mode=ANSI_QUOTES",)),
    Setting("sql_mode=NO_BACKSLASH_ESCAPES", options=("--sql-mode=NO_BACKSLASH_ESCAPES",)),
    Setting(
        "sql_mode=NO_BACKSLASH_ESCAPES, `?local_infile=1`",
        options=("--sql-mode=NO_BACKSLASH_ESCAPES",),
        query="local_infile=1",
    ),
    Setting("`?local_infile=1`", query="local_infile=1"),
    Setting("sql_mode=''", options=("--sql-mode=",)),
    Setting("sql_mode=TRADITIONAL", options=("--sql-mode=TRADITIONAL",)),
    Setting("transaction_isolation=READ-COMMITTED", options=("--transaction-isolation=READ-COMMITTED",)),
    Setting("transaction_isolation=SERIALIZABLE", options=("--transaction-isolation=SERIALIZABLE",)),
    Setting("time zone +05:30", options=("--default-time-zone=+05:30",)),
    Setting("a daylight saving zone, in the hour that comes twice", zone=_with_repeated_hour, batch_seconds=8),
    Setting("max_allowed_packet=1M", options=("--max-allowed-packet=1M",)),
    Setting("wait_timeout=5, batches of 8 s", options=("--wait-timeout=5",), batch_seconds=8),
    Setting("max_connections=10", options=("--max-connections=10",)),
    Setting("autocommit=0", options=("--autocommit=0",)),
    Setting("sql_safe_updates=1", options=("--init-connect=SET sql_safe_updates=1",)),
    Setting("lower_case_table_names=1", options=("--lower-case-table-names=1",)),
    Setting(
        "a latin1 server and database",
        options=("--character-set-server=latin1", "--collation-server=latin1_german1_ci"),
    ),
    Setting(
        "adopted tables with keys of bigint unsigned",
        tables=_application("int AUTO_INCREMENT", "bigint unsigned AUTO_INCREMENT"),
    ),
    Setting(
        "adopted tables in latin1_swedish_ci",
        tables=_application("CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci", "CHARSET=latin1 COLLATE=latin1_swedish_ci"),
    ),
    Setting(
        "adopted tables in utf8mb4_bin",
        tables=_application("COLLATE=utf8mb4_unicode_ci", "COLLATE=utf8mb4_bin"),
    ),
    Setting(
        "adopted tables whose addresses are UNIQUE",
        tables=_application("", "", _UNIQUE),
    ),
    Setting("a group of one member", _MYSQL, _GROUP),
    Setting("read-only for 12 s, as in a failover", meanwhile=_read_only),
    Setting("TLS required, the URL says nothing of it", options=_TLS),
    Setting(
        "TLS, `ssl_ca` names its authority: certificate and name are checked", options=_TLS, query="ssl_ca={authority}"
    ),
    Setting(
        "TLS, `ssl_mode=VERIFY_CA`, a certificate for another name",
        options=_OF_ANOTHER_NAME,
        query="ssl_mode=VERIFY_CA&ssl_ca={authority}",
    ),
    Setting(
        "TLS, `ssl_mode=VERIFY_CA`, the certificate that MySQL makes by itself",
        _MYSQL,
        query="ssl_mode=VERIFY_CA&ssl_ca={data}/ca.pem",
    ),
    Setting("caching_sha2_password, `ssl=false`, a user who was never here", _MYSQL, query="ssl=false"),
    Setting(
        "TLS, `ssl=true`, a certificate that the server makes by itself",
        (*_MYSQL, MariaDB118Server),
        query="ssl=true",
        refused="certificate verify failed",
    ),
    Setting(
        "TLS, `ssl_ca` names its authority, a certificate for another name",
        options=_OF_ANOTHER_NAME,
        query="ssl_ca={authority}",
        refused="certificate verify failed",
    ),
    Setting("max_allowed_packet=64K", options=("--max-allowed-packet=64K",), refused="max_allowed_packet is"),
    Setting("binlog_format=STATEMENT", options=(*_LOG, "--binlog-format=STATEMENT"), refused="binlog_format is"),
    Setting(
        "a group of several primaries",
        _MYSQL,
        (*_GROUP, "--group-replication-single-primary-mode=OFF"),
        refused="multi-primary mode",
    ),
)
