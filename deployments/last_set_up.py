"""The settings that this home was last set up by, so that what would change nothing can be told without Prefect.

Only a digest of them is kept: the file is no place for keys.
"""

from hashlib import blake2b
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Engine

from bouncer.installation import here
from bouncer.storage.engine import probe
from bouncer.storage.identity import database_id
from deployments.server.address import configured_server
from deployments.settings import Settings

__all__ = ["is_set_up", "note_set_up"]


def note_set_up(settings: Settings, engine: Engine) -> None:
    """Notes that all is set up as the settings say, where the home exists.

    Args:
        settings: The environment.
        engine: Of the contacts database.
    """
    if settings.bouncer_flows_home.is_dir():
        _file(settings).write_text(_digest(settings, engine))


def is_set_up(settings: Settings, engine: Engine) -> bool:
    """Tells whether this home was last set up by these very settings, for this database and this Prefect server.

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
    configured = configured_server()
    what = (
        database_id(engine),
        None if configured is None else configured.url,
        *((name, _open(value)) for name, value in settings),
    )
    return blake2b(repr(what).encode(), digest_size=16).hexdigest()


def _open(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _file(settings: Settings) -> Path:
    return settings.bouncer_flows_home / f"{here().name}.set-up"
