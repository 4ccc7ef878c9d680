"""Passwords and keys where people and libraries put them by mistake: in errors about URLs, in logs at level debug."""

import logging
import logging.config
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from bouncer.api.client import BouncerClient
from bouncer.errors import DatabaseUnavailable
from bouncer.safe_logs import keep_logs_safe
from bouncer.storage.engine import engine_for, probe, read
from deployments import command_line
from tests.bouncer.api.caller import Gate
from tests.trust.answering import answering

_MALFORMED = (
    "mysql://user:marked",
    "mysql://user:marked@",
    "mysql://user:marked@/",
    "mysql://user:marked@127.0.0.1:1",
    "mysql:/user:marked@127.0.0.1:1/name",
    "mysql:user:marked@127.0.0.1/name",
    "mysql//user:marked@127.0.0.1/name",
    "://user:marked@127.0.0.1/name",
    "user:marked@127.0.0.1:3306/name",
    " mysql://user:marked@127.0.0.1:1/name",
    '"mysql://user:marked@127.0.0.1:1/name"',
    "\x1b[31mmysql://user:marked@127.0.0.1:1/name",
    "mysql://user:marked@127.0.0.1:33x06/name",
    "mysql://user:marked@127.0.0.1:/name",
    "mysql://user:marked@127.0.0.1:-1/name",
    "mysql://user:marked@[::1/name",
    "mysql://user:marked@::1/name",
    "mysql://user:marked@.:1/name",
    f"mysql://user:marked@{'a' * 300}:1/name",
    "mysql://user:a@marked@127.0.0.1:1/name",
    "mysql://user:@marked:1@127.0.0.1:1/name",
    "mysql://user:a/marked",
    "mysql://user:a/marked@127.0.0.1:1/name",
    "mysql://user:a?marked",
    "mysql://user:a?marked=1@127.0.0.1:1/name",
    "mysql://user:1/marked?x@127.0.0.1:1/name",
    "mysql://user:a@127.0.0.1:1/name@marked",
    "mysql://user:a@127.0.0.1:1/name?password=marked",
    "mysql://user:a@127.0.0.1:1/name?passwd=marked&x=marked",
    "mysql://user:marked@127.0.0.1:1/name?charset=nonsense",
    "mysql://user:marked@127.0.0.1:1/name?charset=utf8&charset=marked",
    "mysql://user:marked@127.0.0.1:1/name?collation='marked'",
    "mysql://user:marked@127.0.0.1:1/name?read_timeout=marked",
    "mysql://user:marked@127.0.0.1:1/name?write_timeout=-5",
    "mysql://user:marked@127.0.0.1:1/name?local_infile=marked",
    "mysql://user:marked@127.0.0.1:1/name?unix_socket=",
    "mysql://user:a@127.0.0.1:1/name?marked",
    "mysql://user:a@127.0.0.1:1/name?marked=1",
    "mysql://user@marked:1/name",
    "mysql://user:@marked:1/name",
    "mysql://user%3Amarked:1/name",
    "mysql://marked:1/name",
    "mysql://user:marked@127.0.0.1:1/name?ssl_ca=/marked.pem",
    "mysql://user:marked@127.0.0.1:1/name?ssl_mode=marked",
    "mysql://user:marked@127.0.0.1:1/name",
    "mysql://user:mar\nmarked@127.0.0.1:1/name",
    "mysql://user:%ff%marked@127.0.0.1:1/name",
    "postgresql://user:marked@127.0.0.1/name",
    "mssql+pyodbc:///?odbc_connect=PWD=marked",
    "Server=127.0.0.1;Uid=user;Pwd=marked",
    "mysql -u user -pmarked name",
    "sqlite+pysqlcipher://:marked@/contacts.db",
    "sqlite://user:marked@/contacts.db",
    "sqlite:///contacts.db?password=marked",
    "sqlite:///mysql://user:marked@127.0.0.1/name",
    "sqlite:marked",
    "marked",
)
_LEVELS = ("NOTSET", "DEBUG", "debug", "DEBUG ", 0, 1, 10, -5)


@pytest.mark.parametrize("url", _MALFORMED)
def test_no_database_url_shows_its_password(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However badly it is written, and whatever stands behind the ?, there is one line, and no traceback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOUNCER_FLOWS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATABASE_URL", url)
    assert command_line._run(["status"]) == 2  # what main() does, in this process
    told = capsys.readouterr()
    assert told.out == ""
    assert "marked" not in told.err
    assert told.err.count("\n") == 1
    assert not list(tmp_path.glob("contacts.db*"))


@pytest.mark.parametrize("between", ["%3A", "%40", ";", ",", " ", "|", "=", "%2F", "'", "%27@%27", ""])
def test_no_server_quotes_a_password_that_was_taken_for_a_name(server_url: str, between: str) -> None:
    """A URL without a clean password has it in the user's name, and servers say which user they refuse."""
    server = server_url.rpartition("@")[2]
    engine = engine_for(f"mysql://test{between.replace('@', '%40')}marked@{server}")
    with pytest.raises(DatabaseUnavailable, match="Access denied for user …") as refused:
        probe(engine)
    assert "marked" not in str(refused.value)
    with pytest.raises(DBAPIError, match="Access denied for user …") as denied:
        read(engine, lambda connection: connection)
    assert "marked" not in "".join(traceback.format_exception(denied.value))


class _All(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{record.name} {record.getMessage()} {record.args}")


@pytest.mark.parametrize("level", _LEVELS)
async def test_no_level_of_the_log_shows_the_key(level: str | int) -> None:
    """Everything that any library says of a request, with the root's level in any spelling that logging takes."""

    async def source() -> str:
        return "marked-key"

    keep_logs_safe()
    root, everything = logging.getLogger(), _All()
    before = root.level
    root.addHandler(everything)
    try:
        root.setLevel(level.strip().upper() if isinstance(level, str) else level)
        with answering(b'{"credits": 1}') as port:
            async with BouncerClient(f"http://127.0.0.1:{port}/v1.1", source, Gate()) as client:
                await client.credits()
    finally:
        root.setLevel(before)
        root.removeHandler(everything)
    assert "marked-key" not in "\n".join(everything.said)


_LIBRARIES = ("websockets.client", "websockets.server", "httpcore.http11", "hpack.hpack", "aiosqlite", "pymysql")


@pytest.mark.parametrize("level", [0, 1, "DEBUG"])
def test_no_library_tells_what_it_sends(level: str | int) -> None:
    """A program that logs everything from its root hears nothing of these; Prefect's extra loggers go by the same."""
    config = {"version": 1, "disable_existing_loggers": False, "root": {"level": level}}
    asked = (
        f"import logging.config, bouncer; logging.config.dictConfig({config}); "
        f"print([name for name in {_LIBRARIES} if logging.getLogger(name).isEnabledFor(logging.DEBUG)])"
    )
    told = subprocess.run([sys.executable, "-P", "-c", asked], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout == "[]\n"
