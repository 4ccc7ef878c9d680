"""Transactions outlive deadlocks and restarts of the database, and what cannot work is told in one clear line."""

import sqlite3
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, func, insert, make_url, select, text, update
from sqlalchemy.exc import IntegrityError

from bouncer.errors import DatabaseUnavailable, SettingRefused
from bouncer.storage import engine as engine_module
from bouncer.storage.dialects import database_now
from bouncer.storage.engine import engine_for, probe, read, write
from bouncer.storage.migrate import upgrade
from bouncer.storage.tables import Account, Contact, User
from tests.bouncer.contacts import at_once
from tests.bouncer.storage.existing_tables import execute, on_servers, on_sqlite, rows
from tests.database_server import DatabaseServer


def _count_users(connection: Connection) -> int | None:
    return connection.scalar(select(func.count()).select_from(User))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://user:secret@host/name", "names postgresql; bouncer-flows works with mysql, mariadb and sqlite"),
        ("mssql+pyodbc://user:secret@host/name", "names mssql"),
        ("mysql://user:secret@host:port/name", "is not a database URL; write mysql://USER:PASSWORD@HOST/NAME"),
        ("secret", "is not a database URL"),
        ("", "is not a database URL"),
    ],
)
def test_urls_that_cannot_be_used(url: str, words: str) -> None:
    """Another database, or what is no URL, is refused in one line that does not quote the password."""
    with pytest.raises(SettingRefused, match=words) as refused:
        engine_for(url)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql"])
def test_urls_of_a_server(server_url: str, scheme: str) -> None:
    """The plan's plain mysql:// works, as do the others; sessions are in UTC and take no gap locks."""
    engine = engine_for(server_url.replace("mysql+pymysql", scheme))
    with engine.connect() as connection:
        session = connection.execute(text("SELECT @@time_zone, @@character_set_client")).one()
        isolation = connection.get_isolation_level()
    engine.dispose()
    assert (*session, isolation) == ("+00:00", "utf8mb4", "READ COMMITTED")


@on_sqlite
def test_sessions_of_sqlite(engine: Engine) -> None:
    """SQLite keeps foreign keys, lets readers read while one writes, and waits for the disk at a commit."""
    with engine.connect() as connection:
        names = ("foreign_keys", "journal_mode", "synchronous")
        assert [connection.scalar(text(f"PRAGMA {name}")) for name in names] == [1, "wal", 2]


def test_the_databases_clock(engine: Engine) -> None:
    """The database's own clock tells UTC to the second, without a zone, as its columns do."""
    now = read(engine, database_now)
    write(engine, lambda c: c.execute(insert(User).values(email="a@example.com")))
    assert (now.tzinfo, now.microsecond) == (None, 0)
    assert abs((read(engine, database_now) - now).total_seconds()) < 60


@on_servers
def test_deadlocks_are_run_again(engine: Engine) -> None:
    """Of two transactions that wait for each other one is run again, and both take place, each once."""
    write(engine, lambda c: c.execute(insert(Account), [{"account": name, "credits": 0} for name in "ab"]))
    both_hold_one = Barrier(2)
    attempts: list[str] = []

    def add(connection: Connection, first: str, second: str) -> None:
        attempts.append(first)
        for account in (first, second):
            connection.execute(update(Account).where(Account.account == account).values(credits=Account.credits + 1))
            if len(attempts) <= 2 and account == first:
                both_hold_one.wait(30)

    at_once([lambda: write(engine, add, "a", "b"), lambda: write(engine, add, "b", "a")])
    assert len(attempts) == 3
    assert [row["credits"] for row in rows(engine, "Bouncer_Accounts")["Bouncer_Accounts"]] == [2, 2]


def test_writers_wait_for_each_other(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """Eight writers that each read and then change one row lose no change, and none has to begin anew."""
    write(engine, lambda c: c.execute(insert(Account).values(account="a", credits=0)))

    def add(connection: Connection) -> None:
        credits_left = connection.scalar(select(Account.credits).with_for_update())
        connection.execute(update(Account).values(credits=(credits_left or 0) + 1))

    at_once([lambda: write(engine, add)] * 8)
    assert "asked for another try" not in caplog.text
    assert rows(engine, "Bouncer_Accounts")["Bouncer_Accounts"][0]["credits"] == 8


def test_a_failure_undoes_the_transaction(engine: Engine) -> None:
    """What a transaction did before it failed is not there, and it is not run again."""
    attempts = []

    def fail(connection: Connection) -> None:
        attempts.append(1)
        connection.execute(insert(User).values(email="a@example.com"))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write(engine, fail)
    assert (read(engine, _count_users), len(attempts)) == (0, 1)


def test_a_database_that_is_killed_and_restarted(server: DatabaseServer, server_url: str) -> None:
    """After kill -9 of the server in the middle of a transaction it is run again when the server is back."""
    engine = engine_for(server_url)
    upgrade(engine)
    write(engine, lambda c: c.execute(insert(User).values(email="before@example.com")))
    starter = Thread(target=server.start)
    attempts = []

    def work(connection: Connection) -> int | None:
        attempts.append(1)
        connection.execute(insert(User).values(email="after@example.com"))
        if len(attempts) == 1:
            server.kill()
            starter.start()
        return _count_users(connection)

    try:
        assert write(engine, work) == 2
        assert len(attempts) >= 2
        assert read(engine, _count_users) == 2
    finally:
        starter.join()
        engine.dispose()


def test_a_database_that_does_not_come_back(monkeypatch: pytest.MonkeyPatch, server_url: str) -> None:
    """When the patience is over, one line says what the driver said."""
    monkeypatch.setattr(engine_module, "OUTAGE_SECONDS", 0.05)
    engine = engine_for(_elsewhere(server_url, port=1))
    for transact in (read, write):
        with pytest.raises(DatabaseUnavailable, match="Can't connect to MySQL server") as gone:
            transact(engine, _count_users)
        assert "\n" not in str(gone.value)


def _elsewhere(url: str, **changes: Any) -> str:
    changed = make_url(url).set(**changes)
    return changed.render_as_string(hide_password=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": "wrong secret"}, "Access denied"),
        ({"database": "nowhere"}, "Unknown database 'nowhere'"),
        ({"port": 1}, "Can't connect to MySQL server"),
    ],
)
def test_a_server_that_cannot_be_used(server_url: str, changes: dict[str, object], words: str) -> None:
    """A wrong password, name or address is told at once, in one line without the password."""
    with pytest.raises(DatabaseUnavailable, match=f"check DATABASE_URL: .*{words}") as refused:
        probe(engine_for(_elsewhere(server_url, **changes)))
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    """A folder that is missing, and a file that is no database, are told at once, in one line."""
    (tmp_path / "notes.txt").write_text("no database, but long enough to be taken for a damaged one" * 10)
    for path, words in ((tmp_path / "missing" / "x", "unable to open"), (tmp_path / "notes.txt", "not a database")):
        with pytest.raises(DatabaseUnavailable, match=f"check DATABASE_URL: .*{words}"):
            probe(engine_for(f"sqlite:///{path}"))


def test_a_database_that_can_be_used(engine: Engine) -> None:
    """A probe of what works says nothing and changes nothing."""
    probe(engine)
    assert read(engine, _count_users) == 0


def test_refused_rows_are_not_quoted(engine: Engine) -> None:
    """The error of a row that the database refuses has no address in it, neither as a parameter nor as a value."""
    execute(engine, "CREATE UNIQUE INDEX one_each ON Contacts_Global (email)")
    twice = [{"global_id": number, "email": "anna@example.com"} for number in (1, 2)]
    with pytest.raises(IntegrityError) as refused:
        write(engine, lambda c: c.execute(insert(Contact), twice))
    error: BaseException | None = refused.value
    while error is not None:
        assert "anna" not in f"{error}{error!r}"
        error = error.__cause__ or error.__context__


@on_sqlite
def test_a_locked_file_is_waited_for(engine: Engine, database_url: str) -> None:
    """While another program holds SQLite's write lock, a transaction waits, and then takes place."""
    other = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO Users (email) VALUES ('other@example.com')")
    began = Barrier(2)

    def write_too() -> None:
        began.wait(30)
        write(engine, lambda c: c.execute(insert(User).values(email="me@example.com")))

    writer = Thread(target=write_too)
    writer.start()
    began.wait(30)
    other.execute("COMMIT")
    writer.join()
    other.close()
    assert read(engine, _count_users) == 2
