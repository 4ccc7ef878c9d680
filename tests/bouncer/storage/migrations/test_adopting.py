"""Tables that are there already are adopted: they get what they lack, and keep what they have."""

import pytest
from sqlalchemy import Engine, insert, inspect

from bouncer.errors import SettingRefused
from bouncer.storage.migrate import upgrade
from bouncer.storage.tables import Request
from tests.bouncer.storage.existing_tables import (
    APPLICATION_ROWS,
    BATCHES_WITHOUT_KEYS,
    OLD_COUNTS,
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
from tests.bouncer.storage.migrations.schema_facts import facts


def test_an_applications_rows_are_kept(empty_engine: Engine) -> None:
    """The application's tables get what they lack, and keep all that they have."""
    execute(empty_engine, *PORTABLE_APPLICATION, *APPLICATION_ROWS)
    before = rows(empty_engine, *TABLES)
    changes = upgrade(empty_engine)
    assert_kept(before, empty_engine)
    assert "added column Contacts_Global.bouncer_status" in changes
    assert not [change for change in changes if "Users" in change]


def test_an_application_without_the_optional_columns_goes_on_inserting(empty_engine: Engine) -> None:
    """Columns that an application's tables get never stop its own statements, and say nothing false of its old rows."""
    execute(
        empty_engine,
        "CREATE TABLE Users (id INTEGER PRIMARY KEY)",
        "CREATE TABLE Requests (request_id INTEGER PRIMARY KEY)",
        "INSERT INTO Requests (request_id) VALUES (1)",
    )
    upgrade(empty_engine)
    execute(empty_engine, "INSERT INTO Users (id) VALUES (2)", "INSERT INTO Requests (request_id) VALUES (2)")
    with empty_engine.begin() as connection:
        connection.execute(insert(Request).values(request_id=3, user_id=2, name="autumn"))
    old, theirs, ours = rows(empty_engine, "Requests")["Requests"]
    assert old.pop("request_id") == 1
    assert set(old.values()) == {None}
    assert theirs["user_id"] is None
    assert ours["created_ts"] is not None


@on_servers
@pytest.mark.parametrize("kind", ["int unsigned", "bigint", "bigint unsigned"])
def test_keys_of_any_integer_type_can_be_referred_to(empty_engine: Engine, kind: str) -> None:
    """New tables refer to an application's contacts whatever integers it numbers them with."""
    execute(
        empty_engine, *(statement.replace("int AUTO_INCREMENT", f"{kind} AUTO_INCREMENT") for statement in APPLICATION)
    )
    execute(empty_engine, *APPLICATION_ROWS)
    upgrade(empty_engine)
    execute(empty_engine, *PLAN_ROWS[:2])
    found = facts(empty_engine)
    assert {found[f"Bouncer_Queue.{name}"][1] for name in ("global_id", "user_id", "request_id")} == {kind}
    assert found["Bouncer_Results.global_id"][1] == kind
    assert found["Bouncer_Queue.batch_id"][1] == "int"


@on_servers
def test_the_plans_own_tables_keep_their_rows(empty_engine: Engine) -> None:
    """Whoever began with the plan's statements goes on with the rows that are in their tables."""
    execute(empty_engine, *APPLICATION, *PLAN, *APPLICATION_ROWS, *PLAN_ROWS)
    before = rows(empty_engine, *PLAN_TABLES)
    changes = upgrade(empty_engine)
    assert_kept(before, empty_engine)
    assert "made Bouncer_Batches.batch_id nullable" in changes
    execute(
        empty_engine,
        "INSERT INTO Bouncer_Batches (user_id, request_id, quantity) VALUES (1, 7, 10), (1, 7, 10)",
        "DELETE FROM Users",
    )
    assert rows(empty_engine, "Bouncer_Batches", "Bouncer_Queue") == {"Bouncer_Batches": [], "Bouncer_Queue": []}
    assert upgrade(empty_engine) == []


def test_old_request_counts_do_not_count_for_an_account(empty_engine: Engine) -> None:
    """What the plan's limiter has counted stays, and is nobody's window of today."""
    execute(
        empty_engine,
        "CREATE TABLE Bouncer_Rate_Limit (id INTEGER PRIMARY KEY, request_count int NOT NULL DEFAULT 0,"
        " window_start_ts TIMESTAMP NOT NULL, window_end_ts TIMESTAMP NOT NULL)",
        OLD_COUNTS,
    )
    before = rows(empty_engine, "Bouncer_Rate_Limit")
    assert "added unique key Bouncer_Rate_Limit (account, window_start_ts)" in upgrade(empty_engine)
    assert_kept(before, empty_engine)
    windows = rows(empty_engine, "Bouncer_Rate_Limit")["Bouncer_Rate_Limit"]
    assert [window["account"] for window in windows] == ["before-1", "before-2"]


@on_servers
def test_missing_keys_are_added(empty_engine: Engine) -> None:
    """A table that somebody made without keys gets them."""
    execute(empty_engine, *APPLICATION, BATCHES_WITHOUT_KEYS, *APPLICATION_ROWS, PLAN_ROWS[0])
    changes = upgrade(empty_engine)
    assert "added foreign key Bouncer_Batches.user_id" in changes
    assert "added unique key Bouncer_Batches (batch_id)" in changes
    execute(empty_engine, "DELETE FROM Users")
    assert rows(empty_engine, "Bouncer_Batches")["Bouncer_Batches"] == []


@on_servers
@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("(4, 'b-2', 99, 7, 1)", "Rows of Bouncer_Batches have a user_id that Users does not know"),
        ("(4, 'b-1', 1, 7, 1)", "Rows of Bouncer_Batches share one batch_id"),
    ],
)
def test_rows_that_contradict_a_key_are_refused(empty_engine: Engine, row: str, words: str) -> None:
    """Where rows stand against a key, a person is told which, and no row is dropped to make it fit."""
    execute(empty_engine, *APPLICATION, BATCHES_WITHOUT_KEYS, *APPLICATION_ROWS, PLAN_ROWS[0])
    execute(empty_engine, f"INSERT INTO Bouncer_Batches (id, batch_id, user_id, request_id, quantity) VALUES {row}")
    before = rows(empty_engine, "Bouncer_Batches")
    with pytest.raises(SettingRefused, match=words):
        upgrade(empty_engine)
    assert_kept(before, empty_engine)


@on_sqlite
def test_what_sqlite_cannot_change_is_refused(empty_engine: Engine) -> None:
    """A table that SQLite would have to write anew stays as it is, and a person is told what to do."""
    execute(empty_engine, *PORTABLE_APPLICATION, BATCHES_WITHOUT_KEYS, *APPLICATION_ROWS, PLAN_ROWS[0])
    before = rows(empty_engine, "Bouncer_Batches")
    with pytest.raises(SettingRefused, match="rename the table, try again"):
        upgrade(empty_engine)
    assert rows(empty_engine, "Bouncer_Batches") == before
    execute(empty_engine, "ALTER TABLE Bouncer_Batches RENAME TO Old_Batches")
    assert "created table Bouncer_Batches" in upgrade(empty_engine)


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
def test_an_application_that_cannot_be_referred_to_is_refused(empty_engine: Engine, table: str, words: str) -> None:
    """The message names the column that is wrong, and nothing has been changed."""
    execute(empty_engine, table)
    with pytest.raises(SettingRefused, match=words):
        upgrade(empty_engine)
    assert [name for name in inspect(empty_engine).get_table_names() if name.startswith("Bouncer")] == []


@on_servers
def test_tables_without_foreign_keys_are_refused(empty_engine: Engine) -> None:
    """The message tells the statement that helps."""
    execute(empty_engine, "CREATE TABLE Users (id int PRIMARY KEY) ENGINE=MyISAM")
    with pytest.raises(SettingRefused, match="ALTER TABLE Users ENGINE=InnoDB"):
        upgrade(empty_engine)
