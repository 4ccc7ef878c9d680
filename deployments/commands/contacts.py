"""The contacts database, as commands that need no Prefect open it: by the environment, not by its block."""

from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from deployments.settings import Settings

__all__ = ["open_contacts", "request_number"]


def open_contacts(settings: "Settings", *, new: bool = False) -> "Engine":
    """Opens the database and makes or mends its tables.

    Args:
        settings: The environment.
        new: Whether an SQLite file that DATABASE_URL names is made where it is not there.

    Raises:
        SettingRefused: The URL or the folder of our own files cannot be used, or there is no such file.
        DatabaseUnavailable: The database cannot be reached.
    """
    from bouncer.storage.engine import engine_for, probe
    from bouncer.storage.migrate import upgrade
    from deployments.known_database import missing_file, refuse_missing_file
    from deployments.server.home import make_home
    from deployments.terminal.console import say

    made = missing_file(settings)
    if not new:
        refuse_missing_file(settings)
    make_home(settings.bouncer_flows_home)
    engine = engine_for(settings.url)
    probe(engine)
    if made:
        say(f"made the database {made}")
    upgrade(engine)
    return engine


@overload
def request_number(given: str, engine: "Engine | None" = None) -> int: ...
@overload
def request_number(given: str | None, engine: "Engine | None" = None) -> int | None: ...
def request_number(given: str | None, engine: "Engine | None" = None) -> int | None:
    """Gives the number of the request that a person has named.

    Args:
        given: Its name or number; None for none.
        engine: The contacts database; opened by the environment where it is needed and not given.

    Raises:
        InputRefused: No request has this name, or several have.
    """
    from bouncer.errors import InputRefused
    from bouncer.requests.names import find_request
    from deployments.settings import read_settings

    if given is None:
        return None
    if given.strip().isdecimal() and engine is None:
        return int(given)
    try:
        return find_request(engine or open_contacts(read_settings()), given)
    except InputRefused:
        if given.strip().isdecimal():
            # Said in the words of the command, which looks for it anyway.
            return int(given)
        raise
