"""Commands that get a place ready to work: setup, and the way from one database to another."""

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bouncer.errors import SettingRefused
from deployments.commands.contacts import open_contacts
from deployments.server.orchestration import orchestrator
from deployments.settings import read_settings
from deployments.terminal.console import say
from deployments.terminal.exit_codes import ExitCode

__all__ = ["move", "setup"]


def setup(*, check: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Makes or mends tables, blocks and limits, from the environment variables. Safe to run again.

    Args:
        check: Only say what is off, and exit with 1 if anything is.
    """
    settings = read_settings()
    with orchestrator(settings):
        from deployments.setup.check import check_server, check_setup
        from deployments.setup.set_up import set_up

        changes = asyncio.run(check_setup(settings) if check else set_up(settings))
        faults = [] if check else asyncio.run(check_server())
    for line in changes:
        print(line)
    if not changes:
        print("everything is as it should be")
    for fault in faults:
        say(f"warning: {fault}")
    return ExitCode.SOME_FAILED if check and changes else 0


def move(file: Annotated[Path, Parameter(help="The SQLite file that has been used so far.")]) -> int:
    """Copies everything from an SQLite file into the empty database that DATABASE_URL names."""
    from bouncer.upkeep import move_database
    from deployments.terminal.display import row_progress

    settings = read_settings()
    if settings.url.startswith("sqlite"):
        raise SettingRefused("DATABASE_URL names no MariaDB or MySQL database to move to; set it first")
    engine = open_contacts(settings)
    with row_progress("copying", "rows") as advance:
        moved = move_database.move(file, engine, progress=advance)
    for table, rows in moved.rows.items():
        print(f"{table}: {rows:,} rows")
    say("copied; run bouncer-flows setup, so that runs work on the new database")
    return 0
