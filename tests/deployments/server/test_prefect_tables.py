"""The tables of a new Prefect database are laid as Prefect's migrations make them, and nowhere else."""

import sqlite3
from pathlib import Path

import pytest

from deployments.server import prefect_tables
from deployments.server.prefect_tables import lay_tables
from tests.deployments.server.prefect_tables import migrate, schema, statements_of


def test_a_first_start_finds_what_the_migrations_of_prefect_would_make(tmp_path: Path) -> None:
    """They took half of it; `make prefect-tables` follows a new version of Prefect."""
    (tmp_path / "migrated").mkdir()
    lay_tables({"PREFECT_HOME": str(tmp_path / "laid")})
    (laid,) = (tmp_path / "laid").iterdir()
    assert laid.name == "prefect.db"
    assert laid.stat().st_mode & 0o077 == 0
    assert schema(laid) == schema(migrate(tmp_path / "migrated"))


@pytest.mark.parametrize("left", ["prefect.db", "prefect.db-wal"])
def test_a_database_that_is_there_stays_as_it_is(tmp_path: Path, left: str) -> None:
    """Also where its file alone was taken away: SQLite would read the journal that is left into another one."""
    (tmp_path / left).write_bytes(b"theirs")
    lay_tables({"PREFECT_HOME": str(tmp_path)})
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [(left, b"theirs")]


@pytest.mark.parametrize(
    "variable",
    [
        "PREFECT_SERVER_DATABASE_CONNECTION_URL",
        "PREFECT_API_DATABASE_CONNECTION_URL",
        "PREFECT_SERVER_DATABASE_DRIVER",
        "PREFECT_PROFILES_PATH",
    ],
)
def test_a_server_whose_database_is_elsewhere_gets_no_file(tmp_path: Path, variable: str) -> None:
    """It may be PostgreSQL, and a file beside it would be taken for what a backup needs."""
    lay_tables({"PREFECT_HOME": str(tmp_path), variable: "elsewhere"})
    assert list(tmp_path.iterdir()) == []


def test_a_server_with_a_profile_of_its_own_gets_no_file(tmp_path: Path) -> None:
    """The profile may say where the database is."""
    (tmp_path / "profiles.toml").write_text("")
    lay_tables({"PREFECT_HOME": str(tmp_path)})
    assert not (tmp_path / "prefect.db").exists()


def test_a_database_that_comes_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody puts a backup back while a command starts."""

    def connect(file: Path) -> sqlite3.Connection:
        (tmp_path / "prefect.db").write_bytes(b"theirs")
        return _connect(file)

    _connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", connect)
    lay_tables({"PREFECT_HOME": str(tmp_path)})
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("prefect.db", b"theirs")]


def test_a_version_of_prefect_without_the_last_migration_makes_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its server would not start: "Can't locate revision"."""
    of_another = tmp_path / "tables.sql"
    of_another.write_text(
        "CREATE TABLE alembic_version (version_num);\nINSERT INTO alembic_version VALUES ('0ffffff0');\n"
    )
    monkeypatch.setattr(prefect_tables, "TABLES", of_another)
    lay_tables({"PREFECT_HOME": str(tmp_path / "prefect")})
    assert list((tmp_path / "prefect").iterdir()) == []


def test_a_start_that_was_killed_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    """The half of a file that it left is made anew."""
    (tmp_path / "prefect-half-made").write_bytes(b"half of it")
    lay_tables({"PREFECT_HOME": str(tmp_path)})
    (laid,) = tmp_path.iterdir()
    assert laid.name == "prefect.db"
    assert statements_of(laid)


def test_what_keeps_the_tables_from_being_laid_is_left_to_the_server_to_tell(tmp_path: Path) -> None:
    """A command would end in a traceback of SQLite's, in place of naming the server's log."""
    (tmp_path / "prefect-half-made").mkdir()
    lay_tables({"PREFECT_HOME": str(tmp_path)})
    assert not (tmp_path / "prefect.db").exists()


def test_a_server_starts_where_the_file_of_tables_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect needs none."""
    monkeypatch.setattr(prefect_tables, "TABLES", tmp_path / "lost.sql")
    lay_tables({"PREFECT_HOME": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []
