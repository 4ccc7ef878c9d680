"""Database URLs as people write them: understood, or refused in a line that shows no part of a password."""

import re
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from bouncer.errors import SettingRefused

__all__ = ["parse_url", "refuse_bad_parameters", "sqlite_file", "with_whole_path"]

_FORM = "write mysql://USER:PASSWORD@HOST/NAME"
_CHARSETS = frozenset({"utf8mb4", "utf8mb3", "utf8"})
_SECONDS = re.compile(r"[1-9]\d{0,6}", re.ASCII)
_ENCODED = "in a password, write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and % as %25"


def parse_url(url: str) -> URL:
    """Reads a database URL.

    Args:
        url: ``mysql://…``, ``mariadb://…`` or ``sqlite:///…``.

    Returns:
        The URL with the driver that is used here.

    Raises:
        SettingRefused: It cannot be read, names no database or another kind of it.
    """
    scheme, separator, rest = url.partition("://")
    # SQLAlchemy takes what follows a bare @, / or ? of a password for the host or the name, which errors show.
    server = re.split("[/?]", rest, maxsplit=1)[0]
    backend = scheme.lower().split("+")[0]
    if separator and backend != "sqlite" and (server.count("@") > 1 or "@" in rest[len(server) :]):
        raise SettingRefused(f"DATABASE_URL cannot be told apart into its parts; {_ENCODED}")
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # A ValueError comes of a port that is no number.
        raise SettingRefused(f"DATABASE_URL is not a database URL; {_FORM}; {_ENCODED}") from None
    if backend == "sqlite":
        return _sqlite(parsed)
    if backend not in {"mysql", "mariadb"}:
        raise SettingRefused(f"DATABASE_URL names {backend}; bouncer-flows works with mysql, mariadb and sqlite")
    if not parsed.database:
        raise SettingRefused(f"DATABASE_URL names no database on the server; {_FORM}")
    try:
        (parsed.host or "").encode("idna")
    except UnicodeError:
        # Not the host: a bare @ may have made it of a password.
        raise SettingRefused(f"DATABASE_URL names a host that cannot exist; {_FORM}; {_ENCODED}") from None
    if parsed.port is not None and not 0 < parsed.port < 65_536:
        raise SettingRefused(f"DATABASE_URL has no port between 1 and 65535; {_FORM}")
    # The driver's dialect finds out by itself which server it is; the one for MariaDB refuses MySQL.
    return parsed.set(drivername="mysql+pymysql")


def refuse_bad_parameters(url: URL) -> None:
    """Checks the parameters behind the ``?``, with which the driver would end in a traceback, or quote texts wrongly.

    Raises:
        SettingRefused: One is not known, stands there twice, or has a value that the driver cannot use.
    """
    checks: dict[str, Callable[[str], object]] = {
        # In Shift JIS, a yen sign is the backslash's byte; the driver escapes texts before it encodes them.
        "charset": lambda value: value.lower() in _CHARSETS,
        "collation": str.isidentifier,
        "local_infile": lambda value: value.lower() in {"true", "false", "1", "0", "yes", "no", "on", "off"},
        "read_timeout": _SECONDS.fullmatch,
        "write_timeout": _SECONDS.fullmatch,
        "unix_socket": bool,
    }
    for name, value in url.query.items():
        if name not in checks:
            # Not its name: a bare ? may have made it of a password.
            raise SettingRefused(
                f"DATABASE_URL has a parameter behind the ? that is not known; known are {', '.join(checks)} and ssl"
            )
        if not isinstance(value, str) or not checks[name](value):
            raise SettingRefused(
                f"DATABASE_URL: the parameter {name} has a value that cannot be used here; leave it out"
            )


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite database, None for a server's.

    Raises:
        SettingRefused: As ``parse_url``.
    """
    parsed = parse_url(url)
    return Path(str(parsed.database)) if parsed.get_backend_name() == "sqlite" else None


def with_whole_path(url: str) -> str:
    """The same URL, with the whole path of an SQLite file, which is then the same one from any folder.

    What cannot be read comes back as it is.
    """
    try:
        file = sqlite_file(url)
    except SettingRefused:
        return url
    return url if file is None or file.is_absolute() else f"sqlite:///{file.absolute()}"


def _sqlite(parsed: URL) -> URL:
    if parsed.query:
        raise SettingRefused("DATABASE_URL: an SQLite file takes no parameters; leave out what follows the ?")
    if parsed.host or parsed.username or parsed.password:
        raise SettingRefused("DATABASE_URL names no SQLite file; write sqlite:////PATH, which has four slashes")
    if parsed.database in {None, "", ":memory:"}:
        raise SettingRefused(
            "DATABASE_URL names an SQLite database in memory, which is lost when a command ends; write sqlite:////PATH"
        )
    if "://" in str(parsed.database):
        raise SettingRefused(f"DATABASE_URL has two URLs in one; {_FORM} or sqlite:////PATH")
    if str(parsed.database).startswith("file:"):
        raise SettingRefused("DATABASE_URL names SQLite's file by file:, which is not known; write sqlite:////PATH")
    return parsed.set(drivername="sqlite")
