"""What the tests of the core share: databases that are ready at once, and a caller of the sandbox."""

import pytest
from sqlalchemy import Engine

from bouncer.api import client
from bouncer.storage.dialects import is_sqlite
from bouncer.storage.migrate import upgrade
from tests.bouncer.api.caller import Caller
from tests.bouncer.storage.existing_tables import execute
from tests.sandbox_process import SandboxHandle

_statements: list[str] = []


@pytest.fixture
def engine(empty_engine: Engine) -> Engine:
    """An engine on a database with all tables and no rows.

    On MariaDB the migrations run once, and every further database gets a copy of what they made, in half the time.
    """
    if _statements and not is_sqlite(empty_engine):
        execute(empty_engine, *_statements)
        return empty_engine
    upgrade(empty_engine)
    if not is_sqlite(empty_engine):
        _statements.extend(_copy(empty_engine))
    return empty_engine


def _copy(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        tables = [name for (name,) in connection.exec_driver_sql("SHOW TABLES")]
        made = [connection.exec_driver_sql(f"SHOW CREATE TABLE {table}").one()[1] for table in tables]
        version = connection.exec_driver_sql("SELECT version_num FROM bouncer_schema_version").scalar()
    return [
        "SET foreign_key_checks = 0",
        *made,
        "SET foreign_key_checks = 1",
        f"INSERT INTO bouncer_schema_version VALUES ('{version}')",
        "INSERT INTO Bouncer_Database VALUES (REPLACE(UUID(), '-', ''))",
    ]


@pytest.fixture
def caller(sandbox: SandboxHandle) -> Caller:
    """A caller of a sandbox that has seen nothing yet."""
    return Caller(sandbox)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client would have waited."""
    waited: list[float] = []

    async def note(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(client, "sleep_unless_stopping", note)
    return waited
