"""Tables as Prefect's migrations make them, written down by ``python -m tests.deployments.server.prefect_tables``."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from deployments.server.prefect_tables import TABLES

__all__ = ["migrate", "schema", "statements_of"]

_HEAD = """-- The tables of Prefect's server as its migrations for SQLite leave them (Prefect {version}, Apache-2.0).
-- `make prefect-tables` writes this file.
"""


def migrate(home: Path) -> Path:
    """Takes a new database through all migrations of Prefect, in a home of its own, and returns its file."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
    subprocess.run(command, env={**environment, "PREFECT_HOME": str(home)}, cwd=home, capture_output=True, check=True)
    return home / "prefect.db"


def statements_of(database: Path) -> list[str]:
    """The statements that make a database as it is, which has no row but that of its last migration."""
    with closing(sqlite3.connect(database)) as connection:
        made = connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'"
            " ORDER BY type = 'index', iif(type = 'index', name, rowid)"
        ).fetchall()
        ((revision,),) = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if table != "alembic_version" and connection.execute(f'SELECT 1 FROM "{table}" LIMIT 1').fetchone():
                raise ValueError(f"the migrations fill {table} too")
    return [*(statement for (statement,) in made), f"INSERT INTO alembic_version VALUES ('{revision}')"]


def schema(database: Path) -> set[frozenset[str]]:
    """A database's statements, each as its lines: Prefect names constraints in another order each time."""
    return {frozenset(line.rstrip(", ") for line in made.splitlines()) for made in statements_of(database)}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        statements = "".join(f"{statement};\n" for statement in statements_of(migrate(Path(folder))))
    TABLES.write_text(_HEAD.format(version=version("prefect")) + statements, encoding="utf-8")
