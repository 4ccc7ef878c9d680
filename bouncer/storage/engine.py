"""Engines for MariaDB, MySQL and SQLite, and transactions that are run again where the database asks for it."""

import logging
import os
import re
import sqlite3
import stat
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Dialect, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from bouncer.errors import DatabaseUnavailable, SettingRefused
from bouncer.safe_text import clean_message
from bouncer.stopping import grace_is_over
from bouncer.storage.tls import tls_arguments, without_tls_parameters
from bouncer.storage.urls import parse_url, refuse_bad_parameters

__all__ = ["engine_for", "probe", "read", "write"]

_log = logging.getLogger(__name__)
_Params = ParamSpec("_Params")
_Return = TypeVar("_Return")

OUTAGE_SECONDS = 120.0
"""Seconds that a transaction waits for a restarting database before it gives up."""

_SQLITE_BUSY_SECONDS = 60
_JOURNALS = ("-wal", "-shm", "-journal")
_CONNECT_TIMEOUT_SECONDS = 10
# Deadlock, lock wait timeout, and the ways in which a MySQL or MariaDB server says that it is full, gone or going:
# https://mariadb.com/kb/en/mariadb-error-code-reference/
_TRANSIENT_MYSQL = frozenset({1205, 1213, 1040, 1203, 1053, 1927, 2002, 2003, 2006, 2013, 2055})
# One known mode, whatever the server's is: values that do not fit are errors and never cut, backslashes escape, and
# no statement is refused for having no key in its WHERE. MariaDB from 11.0 on would rather read a whole table than a
# good part of it by index, and loads that do wait for each other's rows; other servers skip that setting. MySQL cuts
# what GROUP_CONCAT makes at 1 kB unless told otherwise.
_SESSION = (
    "SET time_zone = '+00:00', sql_safe_updates = 0, group_concat_max_len = 16777216, "
    "sql_mode = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'"
    "/*M!110000 , optimizer_scan_setup_cost = 100000000 */"
)
# Where another server has become the primary, the old one takes no more writes. 1290 is the error of any option that
# stands in the way, and its words name it.
_UNKNOWN_DATABASE = 1049
# From the first quote, which is no apostrophe, to the last: a name may have quotes in it.
_QUOTED = re.compile(r"(?<!\w)'.*'", re.DOTALL)
_ADVICE: dict[Any, str] = {
    _UNKNOWN_DATABASE: "; make it with CREATE DATABASE, or name another",
    1045: "; in the URL, write @ : / ? # % of a password as %40 %3A %2F %3F %23 %25",
}
_READ_ONLY = 1836
_OPTION_PREVENTS = 1290


def engine_for(url: str, authority: str | None = None, *, pool_size: int = 20) -> Engine:
    """Makes an engine from a database URL.

    Args:
        url: ``sqlite:///FILE``, ``mysql+pymysql://…``, or the plain ``mysql://…`` and ``mariadb://…``, which
            mean PyMySQL here. ``bouncer.storage.tls`` has the parameters for TLS.
        authority: Ask MariaDB or MySQL for TLS whatever the URL says, and trust the authority of this certificate
            (PEM); the system's authorities where it is an empty text.
        pool_size: The most connections that are kept open.

    Returns:
        An engine whose sessions run in UTC, in READ COMMITTED and in strict mode (MariaDB, MySQL), or in WAL mode
        with foreign keys on (SQLite). A new SQLite file can be read by its owner only.

    Raises:
        SettingRefused: The URL cannot be read, names another database, or holds a parameter that is not known.
    """
    parsed = parse_url(url)
    engine = (
        _sqlite_engine(parsed)
        if parsed.get_backend_name() == "sqlite"
        else _server_engine(parsed, authority, pool_size)
    )
    # When the process ends, connections are closed: SQLite's last one writes what is in the journal into the file.
    weakref.finalize(engine, _close, weakref.ref(engine))
    return engine


def _close(ended: "weakref.ref[Engine]") -> None:
    if (engine := ended()) is not None:
        engine.dispose()


def _server_engine(parsed: URL, authority: str | None, pool_size: int) -> Engine:
    tls = tls_arguments(parsed, authority)
    parsed = without_tls_parameters(parsed)
    refuse_bad_parameters(parsed)
    if "charset" not in parsed.query:
        parsed = parsed.update_query_dict({"charset": "utf8mb4"})
    engine = create_engine(
        parsed,
        pool_size=pool_size,
        max_overflow=10,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,
        # READ COMMITTED takes no gap locks, over which claims and loads of other workers would wait.
        isolation_level="READ COMMITTED",
        connect_args={
            "connect_timeout": _CONNECT_TIMEOUT_SECONDS,
            "init_command": _SESSION,
            # The driver would encode it as Latin-1.
            **({} if parsed.password is None else {"password": str(parsed.password).encode()}),
            **tls,
        },
    )
    if not parsed.password:
        event.listen(engine, "do_connect", _connect_without_names)
    event.listen(engine, "handle_error", _leave_a_server_that_may_not_write)
    return engine


def _sqlite_engine(parsed: URL) -> Engine:
    engine = create_engine(parsed, hide_parameters=True, connect_args={"timeout": _SQLITE_BUSY_SECONDS})
    event.listen(engine, "do_connect", _make_private)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def probe(engine: Engine) -> None:
    """Connects once, so that a wrong URL or password is reported at once and not after minutes of patience.

    Raises:
        DatabaseUnavailable: There is no connection to be had.
    """
    try:
        with engine.connect():
            pass
    except DBAPIError as error:
        advice = _ADVICE.get(error.orig.args[0] if error.orig is not None and error.orig.args else None, "")
        raise DatabaseUnavailable(
            f"the database cannot be used; check DATABASE_URL: {_reason(error)}{advice}"
        ) from None


def read(
    engine: Engine,
    work: Callable[Concatenate[Connection, _Params], _Return],
    *args: _Params.args,
    **kwargs: _Params.kwargs,
) -> _Return:
    """Runs ``work(connection, …)`` in a transaction that only reads, again where the database was away.

    Raises:
        DatabaseUnavailable: The database did not come back within ``OUTAGE_SECONDS``.
    """
    return _transact(lambda: engine.connect().execution_options(writes=False), work, *args, **kwargs)


def write(
    engine: Engine,
    work: Callable[Concatenate[Connection, _Params], _Return],
    *args: _Params.args,
    **kwargs: _Params.kwargs,
) -> _Return:
    """Runs ``work(connection, …)`` in one transaction, again after a deadlock or where the database was away.

    A connection that dies during the commit leaves it unknown whether the transaction took place, so ``work``
    must be safe to run twice.

    Raises:
        DatabaseUnavailable: The database did not come back within ``OUTAGE_SECONDS``.
    """
    return _transact(lambda: engine.connect().execution_options(writes=True), work, *args, **kwargs)


def _transact(connect: Callable[[], Connection], work: Callable[..., _Return], *args: Any, **kwargs: Any) -> _Return:
    retrying = Retrying(
        retry=retry_if_exception(_is_transient),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        stop=_waited_enough,
        before_sleep=lambda state: _log.warning(
            "The database asked for another try (attempt %d): %s",
            state.attempt_number,
            _reason(state.outcome.exception() if state.outcome else None),
        ),
        reraise=True,
    )
    try:
        for attempt in retrying:
            with attempt, connect() as connection, connection.begin():
                return work(connection, *args, **kwargs)
    except DBAPIError as error:
        if _is_transient(error) or error.connection_invalidated:
            raise DatabaseUnavailable(
                f"the database does not answer ({_reason(error)}); see to it, then run the same again: it goes on"
            ) from None
        _hide_addresses(error)
        raise
    raise AssertionError("unreachable: tenacity returns or raises")


def _connect_without_names(dialect: Dialect, _entry: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
    # A URL whose : or @ is encoded, or mistyped, has its password in the user's name or the host.
    try:
        return dialect.connect(*arguments, **options)
    except dialect.loaded_dbapi.Error as error:
        if error.args[:1] != (_UNKNOWN_DATABASE,):
            error.args = tuple(_QUOTED.sub("…", part) if isinstance(part, str) else part for part in error.args)
        raise


def _leave_a_server_that_may_not_write(context: ExceptionContext) -> None:
    # Its connections stay good for reading, so only a new one finds the server that has taken over.
    error = context.original_exception
    code, *words = error.args or (None,)
    if code == _READ_ONLY or (code == _OPTION_PREVENTS and "read-only" in str(words).replace("_", "-")):
        context.is_disconnect = True


def _waited_enough(state: RetryCallState) -> bool:
    return grace_is_over() or stop_after_delay(OUTAGE_SECONDS)(state)


def _is_transient(error: BaseException) -> bool:
    if not isinstance(error, OperationalError | InterfaceError | DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, sqlite3.OperationalError):
        return "locked" in str(error.orig) or "busy" in str(error.orig)
    return _code(error) in _TRANSIENT_MYSQL


def _code(error: DBAPIError) -> Any:
    return error.orig.args[0] if error.orig is not None and error.orig.args else None


def _hide_addresses(error: DBAPIError) -> None:
    # MySQL and MariaDB quote the value that they refuse, and tracebacks of runs are stored.
    error.args = tuple(clean_message(str(part)) for part in error.args)
    if error.orig is not None:
        error.orig.args = tuple(part if isinstance(part, int) else clean_message(str(part)) for part in error.orig.args)


def _reason(error: BaseException | None) -> str:
    # Only the driver's own words: SQLAlchemy's text holds the statement.
    if isinstance(error, DBAPIError) and error.orig is not None:
        return str(error.orig.args[-1] if error.orig.args else error.orig)
    return type(error).__name__


def _make_private(_dialect: Any, _entry: Any, arguments: list[Any], _options: dict[str, Any]) -> None:
    # Addresses are for the owner's eyes, and SQLite gives its journals the rights of the file. What keeps the file from
    # being made, SQLite tells better.
    with suppress(OSError, ValueError):
        file = Path(str(arguments[0]))
        _refuse_what_others_laid(file)
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _refuse_what_others_laid(file: Path) -> None:
    # In a folder that everybody may write to, such as /tmp, whoever lays the file first could read all addresses. So
    # could whoever lays its journals, and what he writes there SQLite takes for its own.
    if not file.parent.stat().st_mode & stat.S_IWOTH:
        return
    for laid in (file, *(file.with_name(file.name + journal) for journal in _JOURNALS)):
        with suppress(FileNotFoundError):
            if laid.lstat().st_uid not in {os.geteuid(), 0}:
                raise SettingRefused(
                    "DATABASE_URL names an SQLite file that belongs to somebody else, itself or its journal, in a "
                    "folder that everybody may write to; name a file in a folder of your own"
                )


def _prepare_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # Transactions are begun by _begin_sqlite; the driver must not begin any of its own.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that will write takes the write lock at once: upgrading later fails instead of waiting.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
