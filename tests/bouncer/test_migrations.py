"""Migrations bring any database to the newest schema, and leave alone what is there."""

import itertools
import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, inspect, make_url, text

from bouncer.database import engine_for
from bouncer.errors import SettingRefused
from bouncer.migrate import pending, upgrade
from bouncer.tables import Request
from tests.bouncer.plan_ddl import APPLICATION, PLAN
from tests.bouncer.schema_facts import facts
from tests.mariadb_server import MariaDBServer

# An application's tables in words that all databases know.
PORTABLE_APPLICATION = (
    "CREATE TABLE Users (id INTEGER PRIMARY KEY, email varchar(320), tariff varchar(20) NOT NULL DEFAULT 'gold')",
    "CREATE TABLE Requests (request_id INTEGER PRIMARY KEY, user_id int, name varchar(255))",
    "CREATE TABLE Contacts_Global (global_id INTEGER PRIMARY KEY, email varchar(320) NOT NULL)",
)
APPLICATION_ROWS = (
    "INSERT INTO Users (id, email) VALUES (1, 'owner@example.com')",
    "INSERT INTO Requests (request_id, user_id, name) VALUES (7, 1, 'autumn')",
    "INSERT INTO Contacts_Global (global_id, email) VALUES (5, 'ann@example.com'), (6, 'bob@example.com')",
)
# The plan's limiter writes one row a request, so that equal times are common.
OLD_COUNTS = """
    INSERT INTO Bouncer_Rate_Limit (id, request_count, window_start_ts, window_end_ts)
    VALUES (1, 1, '2025-01-01 00:00:00', '2025-01-01 00:01:00'), (2, 1, '2025-01-01 00:00:00', '2025-01-01 00:01:00')
"""
PLAN_ROWS = (
    """
    INSERT INTO Bouncer_Batches (id, batch_id, user_id, request_id, status, quantity, updated_ts)
    VALUES (3, 'b-1', 1, 7, 'completed', 2, '2025-01-02 03:04:05')
    """,
    """
    INSERT INTO Bouncer_Queue (queue_id, global_id, user_id, request_id, batch_id, status, created_ts)
    VALUES (1, 5, 1, 7, 3, 'completed', '2025-01-01 00:00:00'), (2, 6, 1, 7, NULL, 'queued', '2025-01-01 00:00:00')
    """,
    OLD_COUNTS,
    """
    INSERT INTO Bouncer_Results (batch_id, global_id, bouncer_status, domain_info, processed_ts)
    VALUES (3, 5, 'deliverable', '{"name": "example.com"}', '2025-01-01 00:00:00')
    """,
    """
    INSERT INTO Bouncer_Dead_Letter_Queue (batch_id, user_id, request_id, error_message)
    VALUES (2, 1, 7, 'malformed')
    """,
    "INSERT INTO Bouncer_Health_Metrics (metric_name, metric_value) VALUES ('queue', 12)",
)
BATCHES_WITHOUT_KEYS = """
    CREATE TABLE Bouncer_Batches (
        id INTEGER PRIMARY KEY,
        batch_id varchar(50) NOT NULL,
        user_id int NOT NULL,
        request_id int NOT NULL,
        status varchar(20) NOT NULL DEFAULT 'queued',
        quantity int NOT NULL,
        duplicates int NOT NULL DEFAULT 0,
        created_ts TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
        updated_ts TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
        completed_ts TIMESTAMP NULL,
        error_message TEXT,
        retry_count int NOT NULL DEFAULT 0
    )
"""
TABLES = ("Users", "Requests", "Contacts_Global")
PLAN_TABLES = (
    *TABLES,
    "Bouncer_Batches",
    "Bouncer_Queue",
    "Bouncer_Rate_Limit",
    "Bouncer_Results",
    "Bouncer_Dead_Letter_Queue",
    "Bouncer_Health_Metrics",
)


@pytest.fixture
def empty(database_url: str) -> Iterator[Engine]:
    """An engine on a database without any table."""
    engine = engine_for(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def empty_mariadb(mariadb_url: str) -> Iterator[Engine]:
    """An engine on a MariaDB database without any table."""
    engine = engine_for(mariadb_url)
    yield engine
    engine.dispose()


def execute(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def rows(engine: Engine, *tables: str) -> dict[str, list[dict[str, Any]]]:
    with engine.connect() as connection:
        return {
            table: [dict(row) for row in connection.execute(text(f"SELECT * FROM {table} ORDER BY 1")).mappings()]
            for table in tables
        }


def assert_kept(before: dict[str, list[dict[str, Any]]], engine: Engine) -> None:
    """Every row is still there, and every value that it had."""
    after = rows(engine, *before)
    for table, old_rows in before.items():
        assert [{name: row[name] for name in old} for old, row in zip(old_rows, after[table], strict=True)] == old_rows


def test_from_nothing(empty: Engine) -> None:
    """A new database gets all tables, says what it got, and then lacks nothing."""
    assert [line.split(":")[0] for line in pending(empty)] == ["0001"]
    changes = upgrade(empty)
    assert "created table Bouncer_Batches" in changes
    assert pending(empty) == []
    assert {*PLAN_TABLES, "Bouncer_Accounts"} <= set(inspect(empty).get_table_names())


def test_pending_changes_nothing(empty: Engine) -> None:
    """Asking what is missing makes no tables."""
    pending(empty)
    assert inspect(empty).get_table_names() == []


def test_a_second_time_nothing_changes_at_the_cost_of_one_query(engine: Engine) -> None:
    """Every start of a worker may upgrade: where nothing is to do, that is one query."""
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *event_: statements.append(event_[2]))
    assert upgrade(engine) == []
    assert [statement for statement in statements if not statement.startswith("BEGIN")] == [
        "SELECT bouncer_schema_version.version_num \nFROM bouncer_schema_version"
    ]


def test_an_applications_rows_are_kept(empty: Engine) -> None:
    """The application's tables get what they lack, and keep all that they have."""
    execute(empty, *PORTABLE_APPLICATION, *APPLICATION_ROWS)
    before = rows(empty, *TABLES)
    changes = upgrade(empty)
    assert_kept(before, empty)
    assert "added column Contacts_Global.bouncer_status" in changes
    assert not [change for change in changes if "Users" in change]


def test_an_application_without_the_optional_columns_goes_on_inserting(empty: Engine) -> None:
    """Columns that an application's tables get never stop its own statements, and say nothing false of its old rows."""
    execute(
        empty,
        "CREATE TABLE Users (id INTEGER PRIMARY KEY)",
        "CREATE TABLE Requests (request_id INTEGER PRIMARY KEY)",
        "INSERT INTO Requests (request_id) VALUES (1)",
    )
    upgrade(empty)
    execute(empty, "INSERT INTO Users (id) VALUES (2)", "INSERT INTO Requests (request_id) VALUES (2)")
    with empty.begin() as connection:
        connection.execute(insert(Request).values(request_id=3, user_id=2, name="autumn"))
    old, theirs, ours = rows(empty, "Requests")["Requests"]
    assert old == {"request_id": 1, "user_id": None, "name": None, "created_ts": None}
    assert theirs["user_id"] is None
    assert ours["created_ts"] is not None


@pytest.mark.parametrize("kind", ["int(10) unsigned", "bigint(20)", "bigint(20) unsigned"])
def test_keys_of_any_integer_type_can_be_referred_to(empty_mariadb: Engine, kind: str) -> None:
    """New tables refer to an application's contacts whatever integers it numbers them with."""
    execute(
        empty_mariadb, *(statement.replace("int AUTO_INCREMENT", f"{kind} AUTO_INCREMENT") for statement in APPLICATION)
    )
    execute(empty_mariadb, *APPLICATION_ROWS)
    upgrade(empty_mariadb)
    execute(empty_mariadb, *PLAN_ROWS[:2])
    found = facts(empty_mariadb)
    assert {found[f"Bouncer_Queue.{name}"][1] for name in ("global_id", "user_id", "request_id")} == {kind}
    assert found["Bouncer_Results.global_id"][1] == kind
    assert found["Bouncer_Queue.batch_id"][1] == "int(11)"


def test_deleting_a_contact_takes_its_place_in_the_queue_along(engine: Engine) -> None:
    """Foreign keys are enforced: what an application deletes does not stay behind in the queue."""
    execute(engine, *APPLICATION_ROWS, *PLAN_ROWS[:2])
    execute(engine, "DELETE FROM Contacts_Global WHERE global_id = 5", "DELETE FROM Bouncer_Batches")
    assert [(row["queue_id"], row["batch_id"]) for row in rows(engine, "Bouncer_Queue")["Bouncer_Queue"]] == [(2, None)]


def test_the_plans_own_tables_keep_their_rows(empty_mariadb: Engine) -> None:
    """Whoever began with the plan's statements goes on with the rows that are in their tables."""
    execute(empty_mariadb, *APPLICATION, *PLAN, *APPLICATION_ROWS, *PLAN_ROWS)
    before = rows(empty_mariadb, *PLAN_TABLES)
    changes = upgrade(empty_mariadb)
    assert_kept(before, empty_mariadb)
    assert "made Bouncer_Batches.batch_id nullable" in changes
    execute(
        empty_mariadb,
        "INSERT INTO Bouncer_Batches (user_id, request_id, quantity) VALUES (1, 7, 10), (1, 7, 10)",
        "DELETE FROM Users",
    )
    assert rows(empty_mariadb, "Bouncer_Batches", "Bouncer_Queue") == {"Bouncer_Batches": [], "Bouncer_Queue": []}
    assert upgrade(empty_mariadb) == []


def test_old_request_counts_do_not_count_for_an_account(empty: Engine) -> None:
    """What the plan's limiter has counted stays, and is nobody's window of today."""
    execute(
        empty,
        "CREATE TABLE Bouncer_Rate_Limit (id INTEGER PRIMARY KEY, request_count int NOT NULL DEFAULT 0,"
        " window_start_ts TIMESTAMP NOT NULL, window_end_ts TIMESTAMP NOT NULL)",
        OLD_COUNTS,
    )
    before = rows(empty, "Bouncer_Rate_Limit")
    assert "added unique key Bouncer_Rate_Limit (account, window_start_ts)" in upgrade(empty)
    assert_kept(before, empty)
    windows = rows(empty, "Bouncer_Rate_Limit")["Bouncer_Rate_Limit"]
    assert [window["account"] for window in windows] == ["before-1", "before-2"]


def test_missing_keys_are_added(empty_mariadb: Engine) -> None:
    """A table that somebody made without keys gets them."""
    execute(empty_mariadb, *APPLICATION, BATCHES_WITHOUT_KEYS, *APPLICATION_ROWS, PLAN_ROWS[0])
    changes = upgrade(empty_mariadb)
    assert "added foreign key Bouncer_Batches.user_id" in changes
    assert "added unique key Bouncer_Batches (batch_id)" in changes
    execute(empty_mariadb, "DELETE FROM Users")
    assert rows(empty_mariadb, "Bouncer_Batches")["Bouncer_Batches"] == []


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("(4, 'b-2', 99, 7, 1)", "Rows of Bouncer_Batches have a user_id that Users does not know"),
        ("(4, 'b-1', 1, 7, 1)", "Rows of Bouncer_Batches share one batch_id"),
    ],
)
def test_rows_that_contradict_a_key_are_refused(empty_mariadb: Engine, row: str, words: str) -> None:
    """Where rows stand against a key, a person is told which, and no row is dropped to make it fit."""
    execute(empty_mariadb, *APPLICATION, BATCHES_WITHOUT_KEYS, *APPLICATION_ROWS, PLAN_ROWS[0])
    execute(empty_mariadb, f"INSERT INTO Bouncer_Batches (id, batch_id, user_id, request_id, quantity) VALUES {row}")
    before = rows(empty_mariadb, "Bouncer_Batches")
    with pytest.raises(SettingRefused, match=words):
        upgrade(empty_mariadb)
    assert_kept(before, empty_mariadb)


def test_what_sqlite_cannot_change_is_refused(tmp_path: Path) -> None:
    """A table that SQLite would have to write anew stays as it is, and a person is told what to do."""
    engine = engine_for(f"sqlite:///{tmp_path / 'contacts.sqlite'}")
    execute(engine, *PORTABLE_APPLICATION, BATCHES_WITHOUT_KEYS, *APPLICATION_ROWS, PLAN_ROWS[0])
    before = rows(engine, "Bouncer_Batches")
    with pytest.raises(SettingRefused, match="rename the table, try again"):
        upgrade(engine)
    assert rows(engine, "Bouncer_Batches") == before
    execute(engine, "ALTER TABLE Bouncer_Batches RENAME TO Old_Batches")
    assert "created table Bouncer_Batches" in upgrade(engine)
    engine.dispose()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            "CREATE TABLE Contacts_Global (global_id int PRIMARY KEY, address varchar(320))",
            "The table Contacts_Global has no column email",
        ),
        ("CREATE TABLE Users (number int PRIMARY KEY)", "The table Users has no column id"),
        ("CREATE TABLE Users (id varchar(36) PRIMARY KEY)", "Users.id is not an integer"),
        ("CREATE TABLE Requests (request_id int)", "Requests.request_id is not unique"),
    ],
)
def test_an_application_that_cannot_be_referred_to_is_refused(empty: Engine, table: str, words: str) -> None:
    """The message names the column that is wrong, and nothing has been changed."""
    execute(empty, table)
    with pytest.raises(SettingRefused, match=words):
        upgrade(empty)
    assert [name for name in inspect(empty).get_table_names() if name.startswith("Bouncer")] == []


def test_tables_without_foreign_keys_are_refused(empty_mariadb: Engine) -> None:
    """The message tells the statement that helps."""
    execute(empty_mariadb, "CREATE TABLE Users (id int PRIMARY KEY) ENGINE=MyISAM")
    with pytest.raises(SettingRefused, match="ALTER TABLE Users ENGINE=InnoDB"):
        upgrade(empty_mariadb)


def test_a_user_who_may_not_change_tables_is_told_so(mariadb: MariaDBServer, mariadb_url: str) -> None:
    """The message names the grants that are missing, not a traceback."""
    database = make_url(mariadb_url).database
    mariadb.execute(
        f"CREATE USER reader_{database}@'127.0.0.1' IDENTIFIED BY 'reads'",
        f"GRANT SELECT ON {database}.* TO reader_{database}@'127.0.0.1'",
    )
    reader = make_url(mariadb_url).set(username=f"reader_{database}", password="reads")
    engine = engine_for(reader.render_as_string(hide_password=False))
    with pytest.raises(SettingRefused, match="grant its user CREATE, ALTER, INDEX and REFERENCES"):
        upgrade(engine)
    engine.dispose()


def test_a_newer_schema_is_refused(engine: Engine) -> None:
    """An old version of the code does not touch tables that it does not know."""
    execute(engine, "UPDATE bouncer_schema_version SET version_num = '9999'")
    with pytest.raises(SettingRefused, match="of revision 9999, which this version of bouncer-flows does not know"):
        upgrade(engine)


def test_the_applications_own_alembic_is_left_alone(empty: Engine) -> None:
    """An application that migrates with Alembic keeps its own version."""
    execute(
        empty,
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('of-the-application')",
    )
    upgrade(empty)
    assert rows(empty, "alembic_version") == {"alembic_version": [{"version_num": "of-the-application"}]}


def test_logging_stays_as_it_was(empty: Engine) -> None:
    """An upgrade neither silences loggers nor adds handlers."""
    logger = logging.getLogger("bouncer.somebody")
    handlers = list(logging.root.handlers)
    levels = (logging.root.level, logging.getLogger("alembic").level)
    upgrade(empty)
    assert not logger.disabled
    assert logging.root.handlers == handlers
    assert (logging.root.level, logging.getLogger("alembic").level) == levels


@pytest.mark.parametrize("statements", [2, 9, 20, 33])
def test_an_upgrade_that_was_cut_short_is_completed(empty_mariadb: Engine, statements: int) -> None:
    """Wherever an upgrade of the plan's tables breaks off, the next one ends with all tables, keys and rows."""
    execute(empty_mariadb, *APPLICATION, *PLAN, *APPLICATION_ROWS, *PLAN_ROWS)
    before = rows(empty_mariadb, *PLAN_TABLES)
    with pytest.raises(KeyboardInterrupt):
        _upgrade_and_break_off(empty_mariadb, statements)
    assert upgrade(empty_mariadb) != []
    assert pending(empty_mariadb) == []
    assert_kept(before, empty_mariadb)
    for table, key in (("Bouncer_Queue", "idx_claim"), ("Bouncer_Rate_Limit", "uq_account_window")):
        assert key in {index["name"] for index in inspect(empty_mariadb).get_indexes(table)}


def test_an_upgrade_of_sqlite_that_was_cut_short_has_changed_nothing(tmp_path: Path) -> None:
    """On SQLite an upgrade is one transaction."""
    engine = engine_for(f"sqlite:///{tmp_path / 'contacts.sqlite'}")
    execute(engine, *PORTABLE_APPLICATION, *APPLICATION_ROWS)
    with pytest.raises(KeyboardInterrupt):
        _upgrade_and_break_off(engine, 9)
    assert inspect(engine).get_table_names() == sorted(TABLES)
    assert "created table Bouncer_Batches" in upgrade(engine)
    engine.dispose()


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
        "from bouncer.database import engine_for\n"
        "from bouncer.migrate import upgrade\n"
        "print('ready', flush=True)\n"
        "url = sys.stdin.readline().strip()\n"
        "print(len(upgrade(engine_for(url))))\n"
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
    assert changes == [0, 0, 10]
    engine = engine_for(database_url)
    assert pending(engine) == []
    engine.dispose()


def test_threads_may_upgrade_different_databases(tmp_path: Path) -> None:
    """Flows that share a process do not get into each other's upgrades."""
    engines = [engine_for(f"sqlite:///{tmp_path / f'{number}.sqlite'}") for number in range(4)]
    with ThreadPoolExecutor(len(engines)) as pool:
        assert [len(changes) for changes in pool.map(upgrade, engines)] == [10] * len(engines)
    for engine in engines:
        engine.dispose()
