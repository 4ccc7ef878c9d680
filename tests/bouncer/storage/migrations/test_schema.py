"""The tables are the plan's, but for the differences that docs/decisions.md lists."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Engine, Index, MetaData, text

from bouncer.storage.engine import engine_for
from bouncer.storage.migrate import upgrade
from bouncer.storage.tables import Base
from tests.bouncer.storage.existing_tables import execute
from tests.bouncer.storage.migrations.plan_ddl import APPLICATION, PLAN
from tests.bouncer.storage.migrations.schema_facts import Fact, differences, facts
from tests.database_server import DatabaseServer
from tests.mariadb_server import MariaDBServer
from tests.mysql_server import MySQLServer

DECISIONS = Path(__file__).parents[4] / "docs" / "decisions.md"

THOROUGH = pytest.param(("mariadb118", "mariadb"), marks=pytest.mark.thorough)
UTF8MB3 = "utf8mb3_unicode_ci"
UTF8MB4 = "utf8mb4_unicode_ci"


def column(position: int, kind: str, collation: str | None = None, default: str | None = "NULL") -> Fact:
    """A column as information_schema has it; one that has another default than NULL takes no NULL."""
    nullable = default == "NULL"
    return (position, kind, "YES" if nullable else "NO", None if nullable else default, "", collation)


def key(*columns: str, unique: bool = False) -> Fact:
    """A key over columns in ascending order."""
    return tuple((0 if unique else 1, name, "A", None) for name in columns)


# What the plan has, and what is here instead; each name stands in docs/decisions.md with its reason.
EXPECTED: dict[str, tuple[Fact | None, Fact | None]] = {
    "Bouncer_Batches.batch_id": (
        column(2, "varchar(50)", UTF8MB3, default=None),
        column(2, "varchar(50)", UTF8MB3),
    ),
    "Bouncer_Batches.account": (None, column(13, "varchar(50)", UTF8MB3, default="default")),
    "Bouncer_Batches.priority": (None, column(14, "int", default="50")),
    "Bouncer_Batches.owner": (None, column(15, "varchar(100)", UTF8MB3)),
    "Bouncer_Batches.heartbeat_ts": (None, column(16, "timestamp")),
    "Bouncer_Batches.slot_lease": (None, column(17, "varchar(36)", UTF8MB3)),
    "Bouncer_Batches.upload_begun_ts": (None, column(18, "timestamp")),
    "Bouncer_Batches.uploaded_ts": (None, column(19, "timestamp")),
    "Bouncer_Batches.progress_ts": (None, column(20, "timestamp")),
    "Bouncer_Batches.finish_requested_ts": (None, column(21, "timestamp")),
    "Bouncer_Batches.verified_ts": (None, column(22, "timestamp")),
    "Bouncer_Batches.held_ts": (None, column(23, "timestamp")),
    "Bouncer_Batches.split_from": (None, column(24, "int")),
    "Bouncer_Batches.processed": (None, column(25, "int", default="0")),
    "Bouncer_Batches.credits": (None, column(26, "int")),
    "Bouncer_Batches.missing": (None, column(27, "int", default="0")),
    "Bouncer_Batches.unmatched": (None, column(28, "int", default="0")),
    "Bouncer_Batches.ambiguous_uploads": (None, column(29, "int", default="0")),
    "Bouncer_Batches.ambiguous_addresses": (None, column(30, "int", default="0")),
    "Bouncer_Batches.expected_credits": (None, column(31, "int")),
    "Bouncer_Batches.realtime": (None, column(32, "tinyint(1)", default="0")),
    "Bouncer_Batches.unanswered": (None, column(33, "int", default="0")),
    "Bouncer_Batches.callback_token": (None, column(34, "varchar(64)", UTF8MB3)),
    "Bouncer_Batches.callback_ts": (None, column(35, "timestamp")),
    "Bouncer_Batches.callback_ids": (None, column(36, "varchar(255)", UTF8MB3)),
    "Bouncer_Batches key callback_token": (None, key("callback_token", unique=True)),
    "Bouncer_Batches.layer": (None, column(37, "enum('basic','deep')", UTF8MB3, default="basic")),
    "Bouncer_Batches.unreadable_ts": (None, column(38, "timestamp")),
    "Bouncer_Batches.lost_addresses": (None, column(39, "int", default="0")),
    "Bouncer_Batches.unknown_before": (None, column(40, "int", default="0")),
    "Bouncer_Batches.unknown_resolved": (None, column(41, "int", default="0")),
    "Bouncer_Batches.running_ts": (None, column(42, "timestamp")),
    "Bouncer_Batches.finish_refused_ts": (None, column(43, "timestamp")),
    "Bouncer_Batches.erased": (None, column(44, "int", default="0")),
    "Bouncer_Batches key idx_account_status": (None, key("account", "status")),
    "Bouncer_Batches key idx_completed": (None, key("completed_ts")),
    "Bouncer_Queue.attempts": (None, column(12, "int", default="0")),
    "Bouncer_Queue.reused": (None, column(13, "tinyint(1)", default="0")),
    "Bouncer_Queue.error_message": (None, column(14, "text", UTF8MB3)),
    "Bouncer_Queue.layer": (None, column(15, "enum('basic','deep')", UTF8MB3, default="basic")),
    "Bouncer_Queue.verdict_after_ts": (None, column(16, "timestamp")),
    "Bouncer_Queue.cancelled": (None, column(17, "tinyint(1)", default="0")),
    "Bouncer_Queue key idx_claim": (None, key("status", "layer", "priority", "request_id", "queue_id")),
    "Bouncer_Queue key idx_request_status": (None, key("request_id", "status")),
    "Bouncer_Queue key request_id": (key("request_id"), None),
    "Bouncer_Rate_Limit.window_start_ts": (
        column(3, "timestamp", default=None),
        column(3, "timestamp", default="CURRENT_TIMESTAMP"),
    ),
    "Bouncer_Rate_Limit.window_end_ts": (
        column(4, "timestamp", default=None),
        column(4, "timestamp", default="CURRENT_TIMESTAMP"),
    ),
    "Bouncer_Rate_Limit.account": (None, column(5, "varchar(50)", UTF8MB3, default="default")),
    "Bouncer_Rate_Limit key uq_account_window": (None, key("account", "window_start_ts", unique=True)),
    "Bouncer_Results.retry_after_ts": (None, column(13, "timestamp")),
    "Bouncer_Results.did_you_mean": (None, column(14, "varchar(320)", UTF8MB3)),
    "Bouncer_Second_Chances": (None, ("InnoDB", UTF8MB3)),
    "Bouncer_Second_Chances.queue_id": (None, column(1, "int", default=None)),
    "Bouncer_Second_Chances.chances": (None, column(2, "int", default="0")),
    "Bouncer_Second_Chances.try_again_ts": (None, column(3, "timestamp")),
    "Bouncer_Second_Chances key PRIMARY": (None, key("queue_id", unique=True)),
    "Bouncer_Second_Chances key idx_try_again": (None, key("try_again_ts")),
    "Bouncer_Second_Chances foreign key Bouncer_Second_Chances_ibfk_1": (
        None,
        (("queue_id", "Bouncer_Queue", "queue_id", "RESTRICT", "CASCADE"),),
    ),
    "Bouncer_Locks": (None, ("InnoDB", UTF8MB3)),
    "Bouncer_Locks.name": (None, column(1, "varchar(20)", UTF8MB3, default=None)),
    "Bouncer_Locks key PRIMARY": (None, key("name", unique=True)),
    "Bouncer_Database": (None, ("InnoDB", UTF8MB3)),
    "Bouncer_Database.id": (None, column(1, "varchar(32)", UTF8MB3, default=None)),
    "Bouncer_Database key PRIMARY": (None, key("id", unique=True)),
    "Bouncer_Reverifications": (None, ("InnoDB", UTF8MB3)),
    "Bouncer_Reverifications.month": (None, column(1, "varchar(7)", UTF8MB3, default=None)),
    "Bouncer_Reverifications.request_id": (None, column(2, "int")),
    "Bouncer_Reverifications.contacts": (None, column(3, "int", default="0")),
    "Bouncer_Reverifications key PRIMARY": (None, key("month", unique=True)),
    "Bouncer_Lists": (None, ("InnoDB", UTF8MB4)),
    "Bouncer_Lists.request_id": (None, column(1, "int", default=None)),
    "Bouncer_Lists.source": (None, column(2, "text", UTF8MB4, default=None)),
    "Bouncer_Lists.source_digest": (None, column(3, "varchar(32)", UTF8MB4, default=None)),
    "Bouncer_Lists.source_bytes": (None, column(4, "bigint", default=None)),
    "Bouncer_Lists.column_name": (None, column(5, "varchar(255)", UTF8MB4, default=None)),
    "Bouncer_Lists.column_number": (None, column(6, "int", default=None)),
    "Bouncer_Lists.split": (None, column(7, "tinyint(1)", default="0")),
    "Bouncer_Lists.bytes_read": (None, column(8, "bigint", default="0")),
    "Bouncer_Lists.lines": (None, column(9, "int", default="0")),
    "Bouncer_Lists.addresses": (None, column(10, "int", default="0")),
    "Bouncer_Lists.rejected": (None, column(11, "int", default="0")),
    "Bouncer_Lists.imported_ts": (None, column(12, "timestamp")),
    "Bouncer_Lists.result": (None, column(13, "text", UTF8MB4)),
    "Bouncer_Lists.result_lines": (None, column(14, "int", default="0")),
    "Bouncer_Lists.result_ts": (None, column(15, "timestamp")),
    "Bouncer_Lists key PRIMARY": (None, key("request_id", unique=True)),
    "Bouncer_Lists foreign key Bouncer_Lists_ibfk_1": (
        None,
        (("request_id", "Requests", "request_id", "RESTRICT", "CASCADE"),),
    ),
    "Bouncer_Deletions": (None, ("InnoDB", UTF8MB3)),
    "Bouncer_Deletions.batch_id": (None, column(1, "int", default=None)),
    "Bouncer_Deletions.deleted_ts": (None, column(2, "timestamp", default="CURRENT_TIMESTAMP")),
    "Bouncer_Deletions key PRIMARY": (None, key("batch_id", unique=True)),
    "Bouncer_Deletions foreign key Bouncer_Deletions_ibfk_1": (
        None,
        (("batch_id", "Bouncer_Batches", "id", "RESTRICT", "CASCADE"),),
    ),
    "Bouncer_Accounts": (None, ("InnoDB", UTF8MB3)),
    "Bouncer_Accounts.account": (None, column(1, "varchar(50)", UTF8MB3, default=None)),
    "Bouncer_Accounts.paused_ts": (None, column(2, "timestamp")),
    "Bouncer_Accounts.paused_by": (None, column(3, "varchar(100)", UTF8MB3)),
    "Bouncer_Accounts.paused_reason": (None, column(4, "varchar(255)", UTF8MB3)),
    "Bouncer_Accounts.breaker_state": (None, column(5, "varchar(10)", UTF8MB3, default="closed")),
    "Bouncer_Accounts.breaker_failures": (None, column(6, "int", default="0")),
    "Bouncer_Accounts.breaker_changed_ts": (None, column(7, "timestamp")),
    "Bouncer_Accounts.breaker_probe": (None, column(8, "varchar(100)", UTF8MB3)),
    "Bouncer_Accounts.credits": (None, column(9, "int")),
    "Bouncer_Accounts.credits_ts": (None, column(10, "timestamp")),
    "Bouncer_Accounts.upload_history": (None, column(11, "varchar(32)", UTF8MB3)),
    "Bouncer_Accounts.uploads": (None, column(12, "int", default="0")),
    "Bouncer_Accounts.paused_kind": (None, column(13, "varchar(20)", UTF8MB3)),
    "Bouncer_Accounts key PRIMARY": (None, key("account", unique=True)),
    "Requests.bouncer_max_credits": (None, column(5, "int")),
    "Requests.bouncer_queued": (None, column(6, "int")),
    "Requests.bouncer_in_flight": (None, column(7, "int")),
    "Requests.bouncer_done": (None, column(8, "int")),
    "Requests.bouncer_failed": (None, column(9, "int")),
    "Requests.bouncer_counted_ts": (None, column(10, "timestamp")),
    "Requests.bouncer_completed_ts": (None, column(11, "timestamp")),
    "Requests.bouncer_announced_ts": (None, column(12, "timestamp")),
    "Requests.bouncer_cancelled": (None, column(13, "int")),
    "Requests.bouncer_cancelled_ts": (None, column(14, "timestamp")),
    "Requests.bouncer_cancelled_by": (None, column(15, "varchar(100)", UTF8MB4)),
    "Requests.bouncer_cancelled_reason": (None, column(16, "varchar(255)", UTF8MB4)),
    "Requests key idx_bouncer_open": (None, key("bouncer_announced_ts", "bouncer_counted_ts")),
    "Requests key idx_bouncer_cancelled": (None, key("bouncer_cancelled_ts")),
    "Requests key idx_bouncer_deep_of": (None, key("bouncer_deep_of")),
    "Bouncer_Calls": (None, ("InnoDB", UTF8MB3)),
    "Bouncer_Calls.window_start_ts": (None, column(1, "timestamp", default="CURRENT_TIMESTAMP")),
    "Bouncer_Calls.account": (None, column(2, "varchar(50)", UTF8MB3, default=None)),
    "Bouncer_Calls.call": (None, column(3, "varchar(20)", UTF8MB3, default=None)),
    "Bouncer_Calls.outcome": (None, column(4, "varchar(50)", UTF8MB3, default=None)),
    "Bouncer_Calls.up_to_ms": (None, column(5, "int", default=None)),
    "Bouncer_Calls.count": (None, column(6, "int", default="0")),
    "Bouncer_Calls.slowest_ms": (None, column(7, "int", default="0")),
    "Bouncer_Calls key PRIMARY": (
        None,
        key("window_start_ts", "account", "call", "outcome", "up_to_ms", unique=True),
    ),
    "Bouncer_Alerts": (None, ("InnoDB", UTF8MB3)),
    "Bouncer_Alerts.account": (None, column(1, "varchar(50)", UTF8MB3, default=None)),
    "Bouncer_Alerts.alert": (None, column(2, "varchar(50)", UTF8MB3, default=None)),
    "Bouncer_Alerts.began_ts": (None, column(3, "timestamp")),
    "Bouncer_Alerts.ended_ts": (None, column(4, "timestamp")),
    "Bouncer_Alerts.crossed_ts": (None, column(5, "timestamp")),
    "Bouncer_Alerts.message": (None, column(6, "varchar(255)", UTF8MB3)),
    "Bouncer_Alerts.began_told": (None, column(7, "tinyint(1)", default="0")),
    "Bouncer_Alerts.ended_told": (None, column(8, "tinyint(1)", default="0")),
    "Bouncer_Alerts key PRIMARY": (None, key("account", "alert", unique=True)),
    "Contacts_Global.bouncer_status": (None, column(3, "varchar(50)", UTF8MB4)),
    "Contacts_Global.bouncer_reason": (None, column(4, "varchar(100)", UTF8MB4)),
    "Contacts_Global.bouncer_score": (None, column(5, "int")),
    "Contacts_Global.bouncer_verified_ts": (None, column(6, "timestamp")),
    "Contacts_Global.bouncer_address_key": (None, column(7, "binary(16)")),
    "Contacts_Global.bouncer_batch_id": (None, column(8, "int")),
    "Contacts_Global.bouncer_deep_ts": (None, column(9, "timestamp")),
    "Contacts_Global key idx_bouncer_address_key": (None, key("bouncer_address_key")),
    "Contacts_Global key idx_bouncer_verdict_age": (None, key("bouncer_status", "bouncer_verified_ts")),
    "Requests.bouncer_deep_of": (None, column(17, "int")),
    "Requests.bouncer_counts": (None, column(18, "text", UTF8MB4)),
    "bouncer_schema_version": (None, ("InnoDB", UTF8MB4)),
    "bouncer_schema_version.version_num": (None, column(1, "varchar(32)", UTF8MB4, default=None)),
    "bouncer_schema_version key PRIMARY": (None, key("version_num", unique=True)),
}


@pytest.fixture(params=[("mariadb", "mysql"), ("mariadb", "mariadb"), ("mysql", "mysql"), THOROUGH])
def application_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The tables of an application on each server, on MariaDB by each of the two names that its URL may have."""
    running, scheme = request.param
    url = request.getfixturevalue(f"{running}_url")
    engine = engine_for(url.replace("mysql+pymysql", scheme))
    execute(engine, *APPLICATION)
    yield engine
    engine.dispose()


@pytest.fixture
def plan_engine(application_engine: Engine) -> Iterator[Engine]:
    """The same application with the plan's tables, made by the plan's own statements, on the same server."""
    name = f"plan_{secrets.token_hex(6)}"
    execute(application_engine, f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE {UTF8MB4}")
    engine = engine_for(application_engine.url.set(database=name).render_as_string(hide_password=False))
    execute(engine, *APPLICATION, *PLAN)
    yield engine
    engine.dispose()
    execute(application_engine, f"DROP DATABASE {name}")


def test_tables_are_the_plans_but_for_the_listed_differences(application_engine: Engine, plan_engine: Engine) -> None:
    """Every column, type, default, key, collation and engine is the plan's, or is listed as a difference."""
    upgrade(application_engine)
    assert differences(facts(plan_engine), facts(application_engine)) == EXPECTED


def test_the_plans_own_tables_become_the_same_as_new_ones(application_engine: Engine, plan_engine: Engine) -> None:
    """Whoever has run the plan's statements gets exactly the tables that a new installation gets."""
    upgrade(application_engine)
    upgrade(plan_engine)
    assert differences(facts(plan_engine), facts(application_engine)) == {}


@pytest.mark.thorough
def test_no_server_moves_moments_by_itself(application_engine: Engine) -> None:
    """With explicit_defaults_for_timestamp off, counting a request once moved the window that it was counted in."""
    upgrade(application_engine)
    is_mariadb: bool = application_engine.dialect.is_mariadb  # type: ignore[attr-defined]  # a server's dialect has it
    kind: type[DatabaseServer] = MariaDBServer if is_mariadb else MySQLServer
    with kind(options=["--explicit-defaults-for-timestamp=OFF", "--sql-mode="]) as server:
        for existing in (APPLICATION, [*APPLICATION, *PLAN]):
            engine = engine_for(server.url(server.create_database()))
            execute(engine, *existing)
            upgrade(engine)
            assert differences(facts(engine), facts(application_engine)) == {}
            engine.dispose()


@pytest.mark.parametrize("name", EXPECTED)
def test_every_difference_is_explained(name: str) -> None:
    """docs/decisions.md tells why each difference from the plan is there."""
    assert f"`{name}`" in DECISIONS.read_text()


def test_priorities_are_indexed_from_the_highest(engine: Engine) -> None:
    """The plan's order of the queue, highest priority first, is an order of the index and not only of its text."""
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            parts = connection.execute(text("PRAGMA index_xinfo('bouncer_queue_idx_status_priority')")).mappings()
            descending = {part["name"]: bool(part["desc"]) for part in parts}
        else:
            parts = connection.execute(text("SHOW KEYS FROM Bouncer_Queue")).mappings()
            descending = {
                part["Column_name"]: part["Collation"] == "D"
                for part in parts
                if part["Key_name"] == "idx_status_priority"
            }
    assert (descending["status"], descending["priority"]) == (False, True)


def test_rows_number_and_date_themselves(engine: Engine) -> None:
    """A row that is inserted without its number and its time gets both from the database."""
    with engine.begin() as connection:
        for _ in range(2):
            connection.execute(text("INSERT INTO Bouncer_Health_Metrics (metric_name, metric_value) VALUES ('q', 1)"))
        rows = connection.execute(text("SELECT id, recorded_ts FROM Bouncer_Health_Metrics ORDER BY id")).all()
    assert [row.id for row in rows] == [1, 2]
    assert all(row.recorded_ts for row in rows)


# The index whose order is an expression to Alembic has a test of its own.
@pytest.mark.filterwarnings("ignore:autogenerate skipping")
def test_models_agree_with_the_migrated_tables(engine: Engine) -> None:
    """What the code believes about the tables is what the migrations make: Alembic finds nothing to change."""
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "compare_server_default": _default_differs,
                "version_table": "bouncer_schema_version",
                "include_object": lambda _item, name, *_: name != "bouncer_queue_idx_status_priority",
            },
        )
        assert compare_metadata(context, _as_reflected(engine)) == []


def _default_differs(
    _context: MigrationContext,
    found: Column[Any],
    declared: Column[Any],
    found_default: str | None,
    _declared_default: Any,
    rendered_default: str | None,
) -> bool | None:
    if found_default and "on update" in found_default.lower():
        # The server does what the model's onupdate does where there is no such server.
        return declared.onupdate is None
    if rendered_default == "false":
        return str(found_default).strip("'") != "0"
    return None


def _as_reflected(engine: Engine) -> MetaData:
    """The models' metadata with the indexes as a database tells them: names of its own on SQLite, no directions."""
    metadata = MetaData()
    for table in Base.metadata.tables.values():
        copy = table.to_metadata(metadata)
        for index in list(copy.indexes):
            name = f"{copy.name.lower()}_{index.name}" if engine.dialect.name == "sqlite" else index.name
            copy.indexes.discard(index)
            Index(name, *(copy.c[str(part).split(".")[-1].removesuffix(" DESC")] for part in index.expressions))
        if engine.dialect.name == "sqlite":
            # The servers make an index of their own for every foreign key.
            leading = {next(iter(index.columns)).name for index in copy.indexes} | {next(iter(copy.primary_key)).name}
            for column in copy.columns:
                if column.foreign_keys and column.name not in leading:
                    Index(f"{copy.name.lower()}_{column.name}", column)
    return metadata
