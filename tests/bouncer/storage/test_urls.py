"""Database URLs as people write them: what works, what is refused, and that no error shows a part of a password."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from bouncer.errors import DatabaseUnavailable, SettingRefused
from bouncer.storage.engine import engine_for, probe
from bouncer.storage.urls import parse_url, with_whole_path
from tests.database_server import DatabaseServer


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:pass@word@127.0.0.1/name",
        "mysql://user:pass/word@127.0.0.1/name",
        "mysql://user:pass?word@127.0.0.1/name",
        "mysql://user:12/word@127.0.0.1/name",
        "mysql://user:pass@12/word@127.0.0.1/name",
        "mysql://user:pass@12?word@127.0.0.1/name",
        "mariadb://user@server:word@127.0.0.1/name",
        "mysql://user:word@127.0.0.1:word/name",
        "mysql://user:word@[::1/name",
        "user:word@127.0.0.1/name",
    ],
)
def test_a_password_that_needs_encoding_is_never_taken_for_a_host(url: str) -> None:
    """What followed an @ or a slash of a password once stood in an error as the host that could not be reached."""
    with pytest.raises(SettingRefused, match="in a password, write @ as %40") as refused:
        engine_for(url)
    assert "word" not in str(refused.value).replace("password", "").replace("PASSWORD", "")
    assert "pass" not in str(refused.value).replace("password", "")


@pytest.mark.parametrize("password", ["a@b", "a:b", "a/b", "a#b", "a%b", "a?b", "50%40", "ä b€", "[x]", "a&b=c"])
def test_every_password_can_be_written(server: DatabaseServer, password: str) -> None:
    """Percent-encoded as the messages advise, any password opens the database; a plain : # or % does as well."""
    name = server.create_database()
    user = f"u{name.removeprefix('test_')}"
    # A new user's first connection, without TLS or a cached password, is the hardest one on MySQL.
    server.execute(
        f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY '{password}'", f"GRANT ALL ON {name}.* TO {user}@'127.0.0.1'"
    )
    url = make_url(server.url(name)).set(username=user, password=password)
    for query in ("", "?ssl=false"):
        engine = engine_for(url.render_as_string(hide_password=False) + query)
        probe(engine)
        engine.dispose()
    server.execute(f"DROP USER {user}@'127.0.0.1'")
    server.drop_database(name)


@pytest.mark.parametrize("password", ["a:b", "a#b", "50%off"])
def test_what_can_be_understood_is(password: str) -> None:
    """Only what stands in the way of reading the URL has to be encoded."""
    assert parse_url(f"mysql://user:{password}@127.0.0.1/name").password == password


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://user:marked@127.0.0.1", "names no database on the server"),
        ("mysql://user:marked@127.0.0.1/", "names no database on the server"),
        ("mysql://user:marked@127.0.0.1:3306?ssl=true", "names no database on the server"),
        ("mysql://user:marked@127.0.0.1:99999/name", "no port between 1 and 65535"),
        ("postgres://user:marked@127.0.0.1/name", "names postgres; bouncer-flows works with"),
        ("jdbc:mysql://127.0.0.1/name?password=marked", "is not a database URL"),
        ("/home/me/marked.db", "is not a database URL"),
        ("sqlite://", "in memory, which is lost"),
        ("sqlite:///", "in memory, which is lost"),
        ("sqlite:///:memory:", "in memory, which is lost"),
        ("sqlite:///file:marked?mode=memory&cache=shared&uri=true", "takes no parameters"),
        ("sqlite:///file:marked", "by file:"),
        ("sqlite://marked.db", "write sqlite:////PATH"),
    ],
)
def test_other_urls_are_refused_in_one_line(url: str, words: str) -> None:
    """Each of these once ended in a traceback, or in a database that was gone with the command."""
    with pytest.raises(SettingRefused, match=words) as refused:
        engine_for(url)
    assert "marked" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_capitals_and_other_drivers_mean_the_same() -> None:
    """A URL that another program uses works here, with the driver that is here."""
    for url in ("MySQL://me@h/n", "mariadb+mariadbconnector://me@h/n", "mysql+aiomysql://me@h/n"):
        assert parse_url(url).drivername == "mysql+pymysql"
    assert parse_url("sqlite+aiosqlite:////x.db").drivername == "sqlite"


def test_a_relative_file_is_the_same_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker in another folder once made a second, empty database there."""
    monkeypatch.chdir(tmp_path)
    assert with_whole_path("sqlite:///contacts.db") == f"sqlite:///{tmp_path / 'contacts.db'}"
    for url in ("sqlite:////x.db", "mysql://me@h/n", "nonsense"):
        assert with_whole_path(url) == url


def test_what_a_server_refuses_is_told_with_what_to_do(server_url: str) -> None:
    """A database that does not exist, and a password that is not the user's, come with their remedy."""
    url = make_url(server_url)
    for changed, words in (
        (url.set(database="nowhere"), "Unknown database 'nowhere'; make it with CREATE DATABASE, or name another"),
        (url.set(password="marked"), "Access denied.*; in the URL, write @ : / . # % of a password as %40"),
    ):
        with pytest.raises(DatabaseUnavailable, match=words) as refused:
            probe(engine_for(changed.render_as_string(hide_password=False)))
        assert "marked" not in str(refused.value)
