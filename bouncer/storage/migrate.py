"""Brings a database to the newest schema, from nothing or from the tables that an application has."""

import threading
from functools import cache
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, column, func, inspect, select, table
from sqlalchemy.exc import DBAPIError, OperationalError

from bouncer.errors import DatabaseUnavailable, SettingRefused
from bouncer.storage.dialects import is_sqlite
from bouncer.storage.engine import read, write
from bouncer.storage.server_settings import unusable_settings

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

__all__ = ["pending", "upgrade"]

# Not Alembic's own name, which the application's migrations may use in the same database.
_VERSIONS = table("bouncer_schema_version", column("version_num"))
_TURN_SECONDS = 60
# A change of a table waits for the transactions that have read it, and everybody else then waits for the change; the
# server's own patience is a day.
_TABLE_LOCK_SECONDS = 30
_MAY_NOT = frozenset({1044, 1142})
# Alembic keeps what it works on in globals.
_one_at_a_time = threading.Lock()


def upgrade(engine: Engine) -> list[str]:
    """Creates the tables that are missing and adds to existing ones what they lack; drops and rewrites nothing.

    Processes that call it at once take turns. Where nothing is to do, it costs one query.

    Args:
        engine: Of ``bouncer.storage.engine.engine_for``.

    Returns:
        One line for each change, in order; none where the schema is the newest.

    Raises:
        SettingRefused: The application's tables lack what is needed, the database user may not change tables, the
            server has a setting that nothing works with, or the schema is of a newer version of bouncer-flows.
        DatabaseUnavailable: The database cannot be reached, or its tables are in use for too long.
    """
    if not pending(engine):
        return []
    if wrong := read(engine, unusable_settings):
        raise SettingRefused(wrong[0])
    with _one_at_a_time:
        try:
            if is_sqlite(engine):
                return write(engine, _run)
            # The version is to be seen by others before they get their turn.
            return write(engine.execution_options(isolation_level="AUTOCOMMIT"), _run_in_turn)
        except OperationalError as error:
            if error.orig is not None and error.orig.args[0] in _MAY_NOT:
                raise SettingRefused(
                    f"The database refused: {error.orig.args[-1]}; "
                    "grant its user CREATE, ALTER, INDEX and REFERENCES on the database, then try again"
                ) from None
            raise


def pending(engine: Engine) -> list[str]:
    """Tells which revisions of the schema the database lacks, without changing anything.

    Args:
        engine: Of ``bouncer.storage.engine.engine_for``.

    Returns:
        One line for each revision, oldest first: its number and what it is for.

    Raises:
        SettingRefused: The schema is of a newer version of bouncer-flows.
        DatabaseUnavailable: The database cannot be reached.
    """
    current = read(engine, _current)
    if current == _newest():
        # Nearly always; Alembic takes longer to load than most commands take.
        return []
    from alembic.script.revision import RevisionError

    try:
        missing = list(_scripts().iterate_revisions("head", current or "base"))
    except RevisionError:
        raise SettingRefused(
            f"The database's tables are of revision {current}, which this version of bouncer-flows does not know; "
            "install the version that made them, or a newer one"
        ) from None
    return [f"{script.revision}: {script.doc}" for script in reversed(missing)]


def _run_in_turn(connection: Connection) -> list[str]:
    # Locks are the server's, not the database's; their names may have 64 characters. MySQL 9 has no md5() any more.
    database = str(connection.scalar(select(func.database())))
    name = f"bouncer_schema.{md5(database.encode(), usedforsecurity=False).hexdigest()}"
    if connection.scalar(select(func.get_lock(name, _TURN_SECONDS))) != 1:
        raise DatabaseUnavailable(
            f"Another process has been changing the tables for {_TURN_SECONDS} seconds; try again when it is done"
        )
    connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {_TABLE_LOCK_SECONDS}")
    try:
        return _run(connection)
    finally:
        # A connection that was lost has lost its lock and its settings, too.
        if not connection.invalidated:
            connection.exec_driver_sql("SET SESSION lock_wait_timeout = DEFAULT")
            connection.execute(select(func.release_lock(name)))


def _run(connection: Connection) -> list[str]:
    from alembic import command

    changes: list[str] = []
    # Another process may have done it while this one waited.
    if _current(connection) != _newest():
        config = _config()
        config.attributes.update(connection=connection, version_table=_VERSIONS.name, changes=changes)
        command.upgrade(config, "head")
    return changes


def _current(connection: Connection) -> str | None:
    newest = select(_VERSIONS.c.version_num)
    try:
        version: str | None = connection.scalar(newest)
    except DBAPIError:
        if not inspect(connection).has_table(_VERSIONS.name):
            return None
        # Another process may have made it between the two looks; what is wrong with it otherwise is told here.
        version = connection.scalar(newest)
    return version


@cache
def _newest() -> str:
    # The files of the revisions are named by their numbers.
    files = (Path(__file__).parent / "migrations" / "versions").glob("[0-9]*.py")
    return max(file.name.partition("_")[0] for file in files)


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "bouncer.storage:migrations")
    return config


@cache
def _scripts() -> "ScriptDirectory":
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())
