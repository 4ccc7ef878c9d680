"""Moves everything from an SQLite file to MariaDB or MySQL."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bouncer.errors import SettingRefused
from bouncer.plurals import counted
from deployments.commands.contacts import open_contacts
from deployments.terminal.console import say, tell

__all__ = ["move"]


def move(file: Annotated[Path, Parameter(help="The SQLite file that has been used so far.")]) -> int:
    """Copies everything from an SQLite file into the empty database that DATABASE_URL names."""
    from bouncer.upkeep import move_database
    from deployments.settings import read_settings
    from deployments.terminal.display import row_progress

    settings = read_settings()
    if settings.url.startswith("sqlite"):
        raise SettingRefused("DATABASE_URL names no MariaDB or MySQL database to move to; set it first")
    engine = open_contacts(settings)
    with row_progress("copying", "rows") as advance:
        moved = move_database.move(file, engine, progress=advance)
    for table, rows in moved.rows.items():
        tell(f"{table}: {counted(rows, 'row')}")
    say("copied; run bouncer-flows setup --yes, so that runs work on the new database")
    return 0
