"""Databases as an application has left them: its tables, the plan's, and rows in both."""

from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.database_server import EVERY_SERVER

on_servers = pytest.mark.parametrize("database_url", EVERY_SERVER, indirect=True)
# CI's time is spent on one server where a test takes long.
on_servers_in_time = pytest.mark.parametrize(
    "database_url",
    ["mariadb", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("mysql", "mariadb118"))],
    indirect=True,
)
on_mariadb = pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

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


def execute(engine: Engine, *statements: str) -> None:
    """Runs statements in one transaction."""
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def rows(engine: Engine, *tables: str) -> dict[str, list[dict[str, Any]]]:
    """All rows of some tables, by the name of the table."""
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
