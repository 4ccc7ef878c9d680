"""The contacts database, as commands that need no Prefect open it: by the environment, not by its block."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from deployments.settings import Settings

__all__ = ["open_contacts"]


def open_contacts(settings: "Settings") -> "Engine":
    """Opens the database and makes or mends its tables.

    Raises:
        SettingRefused: The URL or the folder of our own files cannot be used.
        DatabaseUnavailable: The database cannot be reached.
    """
    from bouncer.storage.engine import engine_for, probe
    from bouncer.storage.migrate import upgrade
    from deployments.server.home import make_home

    make_home(settings.bouncer_flows_home)
    engine = engine_for(settings.url)
    probe(engine)
    upgrade(engine)
    return engine
