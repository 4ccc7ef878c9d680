"""Migrations bring any database to the newest schema, once, whoever else is at it."""

import itertools
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, event, insert, inspect, make_url, select, text

from bouncer.addresses.normalisation import address_key
from bouncer.errors import SettingRefused
from bouncer.storage import migrations
from bouncer.storage.engine import engine_for
from bouncer.storage.migrate import pending, upgrade
from bouncer.storage.migrations import versions
from bouncer.storage.tables import Base, Contact
from tests.bouncer.storage.existing_tables import (
    APPLICATION_ROWS,
    PLAN_ROWS,
    PLAN_TABLES,
    PORTABLE_APPLICATION,
    TABLES,
    assert_kept,
    execute,
    on_servers,
    on_sqlite,
    rows,
)
from tests.bouncer.storage.migrations.plan_ddl import APPLICATION, PLAN
from tests.database_server import DatabaseServer


def test_the_newest_revision_is_known_without_alembic() -> None:
    """Commands compare the database's revision with the last file's number; it is the revision that Alembic ends at."""
    newest = ScriptDirectory(str(Path(migrations.__file__).parent)).get_current_head()
    files = sorted(Path(versions.__file__).parent.glob("[0-9]*.py"))
    assert files[-1].name.partition("_")[0] == newest


def test_from_nothing(empty_engine: Engine) -> None:
    """A new database gets all tables, says what it got, and then lacks nothing."""
    assert [line.split(":")[0] for line in pending(empty_engine)] == [
        "0001",
        "0002",
        "0003",
        "0004",
        "0005",
        "0006",
        "0007",
        "0008",
        "0009",
    ]
    changes = upgrade(empty_engine)
    assert "created table Bouncer_Batches" in changes
    assert pending(empty_engine) == []
    assert {*PLAN_TABLES, "Bouncer_Accounts"} <= set(inspect(empty_engine).get_table_names())


def test_pending_changes_nothing(empty_engine: Engine) -> None:
    """Asking what is missing makes no tables."""
    pending(empty_engine)
    assert inspect(empty_engine).get_table_names() == []


def test_a_second_time_nothing_changes_at_the_cost_of_one_query(engine: Engine) -> None:
    """Every start of a worker may upgrade: where nothing is to do, that is one query."""
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *event_: statements.append(event_[2]))
    assert upgrade(engine) == []
    assert [statement for statement in statements if not statement.startswith("BEGIN")] == [
        "SELECT bouncer_schema_version.version_num \nFROM bouncer_schema_version"
    ]


def test_deleting_a_contact_takes_its_place_in_the_queue_along(engine: Engine) -> None:
    """Foreign keys are enforced: what an application deletes does not stay behind in the queue."""
    execute(engine, *APPLICATION_ROWS, *PLAN_ROWS[:2])
    execute(engine, "DELETE FROM Contacts_Global WHERE global_id = 5", "DELETE FROM Bouncer_Batches")
    assert [(row["queue_id"], row["batch_id"]) for row in rows(engine, "Bouncer_Queue")["Bouncer_Queue"]] == [(2, None)]


def test_a_user_who_may_not_change_tables_is_told_so(server: DatabaseServer, server_url: str) -> None:
    """The message names the grants that are missing, not a traceback."""
    database = make_url(server_url).database
    server.execute(
        f"CREATE USER reader_{database}@'127.0.0.1' IDENTIFIED BY 'reads'",
        f"GRANT SELECT ON {database}.* TO reader_{database}@'127.0.0.1'",
    )
    reader = make_url(server_url).set(username=f"reader_{database}", password="reads")
    engine = engine_for(reader.render_as_string(hide_password=False))
    with pytest.raises(SettingRefused, match="grant its user CREATE, ALTER, INDEX and REFERENCES"):
        upgrade(engine)
    engine.dispose()


def test_a_newer_schema_is_refused(engine: Engine) -> None:
    """An old version of the code does not touch tables that it does not know."""
    execute(engine, "UPDATE bouncer_schema_version SET version_num = '9999'")
    with pytest.raises(SettingRefused, match="of revision 9999, which this version of bouncer-flows does not know"):
        upgrade(engine)


def test_the_applications_own_alembic_is_left_alone(empty_engine: Engine) -> None:
    """An application that migrates with Alembic keeps its own version."""
    execute(
        empty_engine,
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('of-the-application')",
    )
    upgrade(empty_engine)
    assert rows(empty_engine, "alembic_version") == {"alembic_version": [{"version_num": "of-the-application"}]}


def test_logging_stays_as_it_was(empty_engine: Engine) -> None:
    """An upgrade neither silences loggers nor adds handlers."""
    logger = logging.getLogger("bouncer.somebody")
    handlers = list(logging.root.handlers)
    levels = (logging.root.level, logging.getLogger("alembic").level)
    upgrade(empty_engine)
    assert not logger.disabled
    assert logging.root.handlers == handlers
    assert (logging.root.level, logging.getLogger("alembic").level) == levels


@on_servers
@pytest.mark.parametrize("statements", [2, 9, 20, 33])
def test_an_upgrade_that_was_cut_short_is_completed(empty_engine: Engine, statements: int) -> None:
    """Wherever an upgrade of the plan's tables breaks off, the next one ends with all tables, keys and rows."""
    execute(empty_engine, *APPLICATION, *PLAN, *APPLICATION_ROWS, *PLAN_ROWS)
    before = rows(empty_engine, *PLAN_TABLES)
    with pytest.raises(KeyboardInterrupt):
        _upgrade_and_break_off(empty_engine, statements)
    assert upgrade(empty_engine) != []
    assert pending(empty_engine) == []
    assert_kept(before, empty_engine)
    for table, key in (("Bouncer_Queue", "idx_claim"), ("Bouncer_Rate_Limit", "uq_account_window")):
        assert key in {index["name"] for index in inspect(empty_engine).get_indexes(table)}


@on_sqlite
def test_an_upgrade_of_sqlite_that_was_cut_short_has_changed_nothing(empty_engine: Engine) -> None:
    """On SQLite an upgrade is one transaction."""
    execute(empty_engine, *PORTABLE_APPLICATION, *APPLICATION_ROWS)
    with pytest.raises(KeyboardInterrupt):
        _upgrade_and_break_off(empty_engine, 9)
    assert inspect(empty_engine).get_table_names() == sorted(TABLES)
    assert "created table Bouncer_Batches" in upgrade(empty_engine)


def _upgrade_and_break_off(engine: Engine, statements: int) -> None:
    """Upgrades until so many statements have changed something, then breaks off as Ctrl-C does."""
    done = itertools.count()

    def break_off(*event_: Any) -> None:
        if event_[2].lstrip().startswith(("CREATE", "ALTER", "UPDATE")) and next(done) == statements:
            raise KeyboardInterrupt

    event.listen(engine, "before_cursor_execute", break_off)
    try:
        upgrade(engine)
    finally:
        event.remove(engine, "before_cursor_execute", break_off)


def test_processes_that_upgrade_at_once_take_turns(database_url: str) -> None:
    """Workers that start together on an empty database all come up, and one of them makes the tables."""
    program = (
        "import sys\n"
        "from bouncer.storage.engine import engine_for\n"
        "from bouncer.storage.migrate import upgrade\n"
        "print('ready', flush=True)\n"
        "url = sys.stdin.readline().strip()\n"
        "print(sum(line.startswith('created table') for line in upgrade(engine_for(url))))\n"
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write(f"{database_url}\n")
            worker.stdin.flush()
        changes = sorted(int(worker.communicate(timeout=60)[0]) for worker in workers)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert changes == [0, 0, len(Base.metadata.tables)]
    engine = engine_for(database_url)
    assert pending(engine) == []
    engine.dispose()


def test_threads_may_upgrade_different_databases(tmp_path: Path) -> None:
    """Flows that share a process do not get into each other's upgrades."""
    engines = [engine_for(f"sqlite:///{tmp_path / f'{number}.sqlite'}") for number in range(4)]
    with ThreadPoolExecutor(len(engines)) as pool:
        made = [sum(line.startswith("created table") for line in changes) for changes in pool.map(upgrade, engines)]
        assert made == [len(Base.metadata.tables)] * len(engines)
    for engine in engines:
        engine.dispose()


def test_two_mailboxes_that_shared_a_verdict_are_verified_anew(engine: Engine) -> None:
    """Keys once made ss of ß: those that shared a verdict lose it, since it may be the other's; a lone one keeps it."""
    emails = ["groß@weg.example", "gross@weg.example", "GROSS@weg.example", "fuß@weg.example", "anna@weg.example"]
    old_keys = [blake2b(email.casefold().encode(), digest_size=16).digest() for email in emails]
    contacts = [
        {"email": email, "bouncer_address_key": key, "bouncer_status": "deliverable", "bouncer_batch_id": 1}
        for email, key in zip(emails, old_keys, strict=True)
    ]
    with engine.begin() as connection:
        connection.execute(insert(Contact), contacts)
        connection.execute(text("UPDATE bouncer_schema_version SET version_num = '0001'"))
        connection.execute(text("DROP TABLE Bouncer_Lists"))
        connection.execute(text("DROP TABLE Bouncer_Deletions"))
    assert upgrade(engine) == [
        "address keys of 2 contacts are to be renewed",
        "created table Bouncer_Lists",
        "created table Bouncer_Deletions",
    ]
    with engine.connect() as connection:
        found = connection.execute(select(Contact).order_by(Contact.global_id).with_only_columns(*Contact.__table__.c))
        after = {row.email: (row.bouncer_address_key, row.bouncer_status, row.bouncer_batch_id) for row in found}
    assert after == {
        "groß@weg.example": (None, None, None),
        "gross@weg.example": (address_key("gross@weg.example"), None, None),
        "GROSS@weg.example": (address_key("gross@weg.example"), None, None),
        "fuß@weg.example": (None, "deliverable", 1),
        "anna@weg.example": (address_key("anna@weg.example"), "deliverable", 1),
    }
