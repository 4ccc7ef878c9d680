"""The contacts database that commands of this home have last worked on, in a file beside their others.

Commands that need no Prefect server, such as ``status``, go by DATABASE_URL alone, and would tell of an empty database
that all is well.
"""

from pathlib import Path

from sqlalchemy import Engine

from bouncer.installation import here
from bouncer.storage.identity import database_id

__all__ = ["is_another_database", "note_here"]


def note_here(home: Path, id_: str) -> None:
    """Notes the database, where the home exists.

    Args:
        home: BOUNCER_FLOWS_HOME.
        id_: The database's id.
    """
    if home.is_dir():
        _file(home).write_text(id_)


def is_another_database(home: Path, engine: Engine) -> bool:
    """Tells whether the last command from here worked on another database than this one."""
    try:
        known = _file(home).read_text()
    except OSError:
        return False
    return known != database_id(engine)


def _file(home: Path) -> Path:
    return home / f"{here().name}.database"
