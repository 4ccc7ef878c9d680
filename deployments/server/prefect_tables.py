"""The tables of a new Prefect database, laid at once: over a hundred migrations would take half of a first start."""

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path

from bouncer.files.private_folders import private_folder

__all__ = ["TABLES", "lay_tables"]

TABLES = Path(__file__).with_name("prefect_tables.sql")
"""The statements of the tables, as Prefect's migrations leave them; ``make prefect-tables`` writes the file."""

_MIGRATIONS = "server/database/_migrations/versions/sqlite"
_ELSEWHERE = re.compile(r"PREFECT_((SERVER|API)_DATABASE_(CONNECTION_URL|DRIVER|NAME)|PROFILES_PATH)")


def lay_tables(environment: Mapping[str, str]) -> None:
    """Makes the database of a Prefect server that has none yet, as its migrations would; they go on from there.

    Nothing is made where there is a file of that name already, where a variable or a profile may say that the server
    keeps its database elsewhere, or where its migrations do not have the one that the tables are of: an older version
    makes its own. So does any, where the tables cannot be laid.

    Args:
        environment: The server's.
    """
    home = private_folder(Path(environment["PREFECT_HOME"]))
    # What is left of one that was taken away, a journal, would be read into the new one.
    if any(home.glob("prefect.db*")) or (home / "profiles.toml").exists():
        return
    if any(_ELSEWHERE.fullmatch(name) for name in environment):
        return
    # What stands in the way, a full disk, stands in that of the server too, whose log tells.
    with suppress(OSError, sqlite3.Error):
        statements = TABLES.read_text(encoding="utf-8")
        if _has_migration(_revision_of(statements)):
            _lay(statements, home)


def _lay(statements: str, home: Path) -> None:
    half_made = home / "prefect-half-made"
    half_made.unlink(missing_ok=True)
    try:
        half_made.touch(mode=0o600)
        with closing(sqlite3.connect(half_made)) as connection:
            connection.executescript(f"BEGIN; {statements} COMMIT;")
        # Not renamed: where somebody puts a backup back just now, that has the name.
        (home / "prefect.db").hardlink_to(half_made)
    finally:
        half_made.unlink(missing_ok=True)


def _revision_of(statements: str) -> str:
    # It is in the last of them.
    return statements.rstrip().rpartition("VALUES ('")[2].removesuffix("');")


def _has_migration(revision: str) -> bool:
    prefect = find_spec("prefect")
    folders = (prefect.submodule_search_locations if prefect is not None else None) or []
    return any(True for folder in folders for _ in Path(folder, _MIGRATIONS).glob(f"*_{revision}_*.py"))
