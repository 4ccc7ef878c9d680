"""The environment that this home was last set up in, so that what would change nothing can be told without Prefect.

A digest of it is kept, without its secrets: whether these are right, those who are asked with them tell.
"""

from hashlib import blake2b
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr
from sqlalchemy import Engine

from bouncer.files.private_files import write_private
from bouncer.installation import here
from bouncer.storage.engine import probe
from bouncer.storage.identity import database_id
from deployments.server.address import configured_server
from deployments.server.server_files import ServerFiles
from deployments.settings import Settings
from deployments.this_version import this_version

__all__ = ["is_set_up", "note_set_up"]


def note_set_up(settings: Settings, engine: Engine) -> None:
    """Notes that all is set up as the environment says, where the home exists.

    Args:
        settings: The environment.
        engine: Of the contacts database.
    """
    if settings.bouncer_flows_home.is_dir():
        write_private(_file(settings), _digest(settings, engine))


def is_set_up(settings: Settings, engine: Engine) -> bool:
    """Tells whether this home was last set up in this very environment, for this database and this Prefect server.

    Args:
        settings: The environment.
        engine: Of the contacts database.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    try:
        noted = _file(settings).read_text()
    except OSError:
        return False
    probe(engine)
    return noted == _digest(settings, engine)


def _digest(settings: Settings, engine: Engine) -> str:
    what = (
        # Another may set up more.
        this_version(),
        database_id(engine),
        _server(settings),
        *((name, value) for name, value in settings if not isinstance(value, SecretStr)),
    )
    return blake2b(repr(what).encode(), digest_size=16).hexdigest()


def _server(settings: Settings) -> str | None:
    # While a command works, its own local server is configured like any other.
    configured, own = configured_server(), ServerFiles(settings.bouncer_flows_home).port()
    if configured is None or urlsplit(configured.url).port == own:
        return None
    return configured.url


def _file(settings: Settings) -> Path:
    return settings.bouncer_flows_home / f"{here().name}.set-up"
