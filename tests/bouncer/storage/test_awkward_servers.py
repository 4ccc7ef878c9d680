"""Servers whose settings are not the defaults: what can be worked with is, and the rest is named before anything."""

from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, Integer, String, func, insert, select
from sqlalchemy.types import TypeEngine

from bouncer.erasure.erasing import erase_person
from bouncer.errors import RowsAltered, SettingRefused
from bouncer.files.importing import import_contacts
from bouncer.storage.bulk import stage
from bouncer.storage.engine import engine_for, read, write
from bouncer.storage.migrate import upgrade
from bouncer.storage.server_settings import unusable_settings
from bouncer.storage.tables import User
from tests.bouncer.contacts import claim, load_verdicts, queue_rows, sent, verdicts, verify
from tests.database_server import DatabaseServer, skip_or_fail
from tests.mariadb_server import MariaDB118Server, MariaDBServer
from tests.mysql_server import MySQLServer
from tests.trust.database.granting import Granting

# All at once, since none hides another.
_AWKWARD = (
    "--sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES",
    "--transaction-isolation=SERIALIZABLE",
    "--autocommit=0",
    "--max-allowed-packet=1M",
    "--default-time-zone=+05:30",
    "--character-set-server=latin1",
    "--collation-server=latin1_german1_ci",
    "--lower-case-table-names=1",
    "--init-connect=SET sql_safe_updates=1",
)
_PLAIN_USER = "CREATE USER plain@'127.0.0.1' IDENTIFIED BY 'pw'"
_KEY_REQUIRED: dict[type[DatabaseServer], str] = {
    MariaDBServer: "--innodb-force-primary-key=ON",
    MariaDB118Server: "--innodb-force-primary-key=ON",
    MySQLServer: "--sql-require-primary-key=ON",
}
_KINDS = [MariaDBServer, MySQLServer, pytest.param(MariaDB118Server, marks=pytest.mark.thorough)]


@pytest.fixture(scope="module", params=_KINDS, ids=lambda kind: kind.NAME)
def awkward(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    """A server with everything set otherwise than by default."""
    kind: type[DatabaseServer] = request.param
    skip_or_fail(kind.missing())
    with kind(options=(*_AWKWARD, _KEY_REQUIRED[kind])) as server:
        # Those who may do everything are spared init_connect.
        server.execute("SET autocommit = 1", _PLAIN_USER)
        yield server


@pytest.fixture(params=["", "?local_infile=1"], ids=["statements", "files"])
def engine(awkward: DatabaseServer, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine on an empty database, by statements and by files."""
    name = awkward.create_database()
    awkward.execute(f"GRANT ALL ON {name}.* TO plain@'127.0.0.1'")
    engine = engine_for(f"mysql://plain:pw@127.0.0.1:{awkward.port}/{name}{request.param}")
    yield engine
    engine.dispose()
    awkward.drop_database(name)


def test_the_way_of_a_contact_on_an_awkward_server(engine: Engine, tmp_path: Path) -> None:
    """Tables, import, claim and verdicts work without any of the defaults, and each contact gets its verdict once."""
    upgrade(engine)
    file = tmp_path / "contacts.csv"
    file.write_text("".join(f"{name}@example.com\n" for name in ("ann", "o'hara", "back\\slash", "grüße", "dan")))
    report = import_contacts(engine, file)
    assert (report.queued, report.rejected) == (4, 1)
    (batch,) = claim(engine).batches
    work = verify(engine, batch.id)
    assert load_verdicts(engine, work, verdicts(sent(engine, batch.id))).settled == 4
    assert {row.status for row in queue_rows(engine)} == {"completed"}
    assert upgrade(engine) == []


def test_the_grants_of_the_page_work_on_an_awkward_server(awkward: DatabaseServer, tmp_path: Path) -> None:
    """Whatever a backslash means there, and with names in small letters: the narrowest user works, and erases."""
    name = awkward.create_database()
    granting = Granting(awkward, awkward.url(name))
    setup = engine_for(granting.grant("setup"))
    upgrade(setup)
    setup.dispose()
    narrow = engine_for(granting.grant("narrow"))
    file = tmp_path / "contacts.csv"
    file.write_text("ann@example.com\ndan@example.com\n")
    import_contacts(narrow, file)
    (batch,) = claim(narrow).batches
    load_verdicts(narrow, verify(narrow, batch.id), verdicts(["ann@example.com", "dan@example.com"]))
    assert erase_person(narrow, "ann@example.com", exports=[]).queue_rows == 1
    assert [row.email for row in queue_rows(narrow)] == ["dan@example.com"]
    narrow.dispose()
    awkward.drop_database(name)


def test_gaps_and_backslashes_stay_what_they_are(engine: Engine) -> None:
    """Under NO_BACKSLASH_ESCAPES, LOAD DATA once stored gaps as texts, and paid verdicts not at all."""
    texts = ["back\\slash", "\\N", None, "tab\there", "it's", 'a "quote"']
    columns: dict[str, TypeEngine[Any]] = {"number": Integer(), "text": String(50)}
    with engine.begin() as connection:
        table = stage(connection, "staged", columns, pd.DataFrame({"number": range(len(texts)), "text": texts}))
        found = connection.scalars(select(table.c.text).order_by(table.c.number)).all()
    assert found == texts


def test_a_value_that_does_not_fit_is_an_error_whatever_the_mode(engine: Engine) -> None:
    """A server that is not strict once cut an address, and the verdict was another one's."""
    upgrade(engine)
    with pytest.raises((RowsAltered, Exception), match=r"Data too long|as they are"):
        write(engine, stage, "staged", {"word": String(3)}, pd.DataFrame({"word": ["too long"]}))


@pytest.fixture(params=_KINDS, ids=lambda kind: kind.NAME)
def kind(request: pytest.FixtureRequest) -> type[DatabaseServer]:
    """A kind of server."""
    chosen: type[DatabaseServer] = request.param
    skip_or_fail(chosen.missing())
    return chosen


def test_settings_that_nothing_works_with_are_named_first(kind: type[DatabaseServer]) -> None:
    """Before a table is made, a person is told of each setting under which runs would fail halfway."""
    logged = ("--log-bin=bin", "--server-id=1", "--binlog-format=STATEMENT")
    with kind(options=("--max-allowed-packet=64K", *logged)) as server:
        engine = engine_for(server.url(server.create_database()))
        wrong = read(engine, unusable_settings)
        assert len(wrong) == 2
        assert "max_allowed_packet is 65,536 bytes" in wrong[0]
        assert "binlog_format is STATEMENT" in wrong[1]
        with pytest.raises(SettingRefused, match="max_allowed_packet is 65,536 bytes"):
            upgrade(engine)
        engine.dispose()


def test_nothing_is_wrong_with_the_defaults(server_url: str) -> None:
    """A server as it comes is one to work with."""
    engine = engine_for(server_url)
    assert read(engine, unusable_settings) == []
    engine.dispose()


def test_a_failover_is_waited_out_on_a_new_connection(kind: type[DatabaseServer]) -> None:
    """A server that became read-only takes nothing more; only a new connection finds the one that took over."""
    with kind() as server:
        name = server.create_database()
        server.execute(
            "CREATE USER plain@'127.0.0.1' IDENTIFIED BY 'pw'", f"GRANT ALL ON {name}.* TO plain@'127.0.0.1'"
        )
        engine = engine_for(f"mysql://plain:pw@127.0.0.1:{server.port}/{name}")
        upgrade(engine)
        before = read(engine, lambda c: c.exec_driver_sql("SELECT CONNECTION_ID()").scalar())
        server.execute("SET GLOBAL read_only = ON")
        back = Timer(2, server.execute, ["SET GLOBAL read_only = OFF"])
        back.start()
        try:
            write(engine, lambda c: c.execute(insert(User).values(email="me@example.com")))
        finally:
            back.join()
        assert read(engine, lambda c: c.scalar(select(func.count()).select_from(User))) == 1
        assert read(engine, lambda c: c.exec_driver_sql("SELECT CONNECTION_ID()").scalar()) != before
        engine.dispose()
