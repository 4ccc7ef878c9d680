"""The contacts database that commands of this home have last worked on, in a file beside their others.

Commands that need no Prefect server, such as ``status``, go by DATABASE_URL alone, and would tell of an empty database
that all is well.
"""

from pathlib import Path

from sqlalchemy import Engine

from bouncer.errors import SettingRefused
from bouncer.installation import here
from bouncer.storage.identity import database_id
from bouncer.storage.urls import sqlite_file
from deployments.settings import Settings

__all__ = ["is_another_database", "missing_file", "note_here", "refuse_missing_file", "refuse_no_database"]


def missing_file(settings: Settings) -> Path | None:
    """The SQLite file that DATABASE_URL names and that is not there; None where it names another or is not set.

    Raises:
        SettingRefused: The URL cannot be used.
    """
    return None if settings.database_url is None else _absent(settings)


def refuse_missing_file(settings: Settings) -> None:
    """Refuses to make an empty database where DATABASE_URL has, perhaps, a typo.

    Raises:
        SettingRefused: The file is not there, or the URL cannot be used.
    """
    if file := missing_file(settings):
        raise SettingRefused(
            f"DATABASE_URL: there is no file {file}; correct it, or make the database with bouncer-flows setup"
        )


def refuse_no_database(settings: Settings) -> None:
    """Refuses to make an empty database where DATABASE_URL is not set and none was made in this home.

    Raises:
        SettingRefused: That is so.
    """
    if settings.database_url is None and (file := _absent(settings)):
        raise SettingRefused(
            f"DATABASE_URL is not set, and there is no database {file}; set it as the installation has it, or make one"
            " with bouncer-flows setup"
        )


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


def _absent(settings: Settings) -> Path | None:
    file = sqlite_file(settings.url)
    return None if file is None or file.exists() else file


def _file(home: Path) -> Path:
    return home / f"{here().name}.database"
