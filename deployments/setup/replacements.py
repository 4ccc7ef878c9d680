"""Differences between the environment and the saved blocks: setup would replace them, other commands refuse."""

import asyncio
from dataclasses import dataclass
from typing import TypeVar

from pydantic import SecretStr
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from blocks.bouncer_account import BouncerAccount
from blocks.contacts_database import ContactsDatabase
from blocks.last_database import last_database
from blocks.saved_blocks import load_saved
from bouncer.errors import SettingRefused
from bouncer.installation import here
from bouncer.storage.identity import database_id
from bouncer.storage.urls import sqlite_file
from deployments.settings import Settings, variable_of

__all__ = ["Replacement", "replacements"]

_Saved = TypeVar("_Saved", ContactsDatabase, BouncerAccount)

_ACCOUNT_ITSELF = ("api_key", "base_url")


@dataclass(frozen=True)
class Replacement:
    """Something of the installation that setup would replace.

    Attributes:
        variable: The environment variable that says so, or what is otherwise than it was.
        what: What it is and what it would be; never a secret.
        points_elsewhere: Whether the installation would work with another database or another account then.
    """

    variable: str
    what: str
    points_elsewhere: bool


async def replacements(settings: Settings) -> list[Replacement]:
    """Finds what setup would replace in blocks that are there; a block that cannot be used is setup's to mend.

    Args:
        settings: The environment.
    """
    found = await _of_database(settings)
    found += await _of_account("default", settings.account_values(), "BOUNCER_API_KEY")
    if settings.deep_bouncer_api_key is not None:
        found += await _of_account("deep", settings.deep_account_values(), "DEEP_BOUNCER_API_KEY")
    return found


async def _of_database(settings: Settings) -> list[Replacement]:
    saved = await _usable(ContactsDatabase, here().block)
    if saved is None:
        return []
    wanted = SecretStr(settings.url)
    if settings.database_url is None or saved.url == wanted:
        return await _of_database_itself(saved)
    block = f"block contacts-database/{here().block}"
    if _place(saved.url) == _place(wanted):
        return [Replacement("DATABASE_URL", f"{block} has another user, password or option", points_elsewhere=False)]
    what = f"{block} has {_shown(saved.url)} and not {_shown(wanted)}"
    return [Replacement("DATABASE_URL", what, points_elsewhere=True)]


async def _of_database_itself(saved: ContactsDatabase) -> list[Replacement]:
    file = sqlite_file(saved.url.get_secret_value())
    if file is not None and not file.exists():
        # To connect to it would make it.
        return [Replacement("the contacts database", f"there is no file {file}", points_elsewhere=True)]
    last = await last_database()
    if last is None or last == await asyncio.to_thread(database_id, saved.get_engine()):
        return []
    what = "it is not the one of the last run: it was made anew, or another has come into its place"
    return [Replacement("the contacts database", what, points_elsewhere=True)]


async def _of_account(account: str, values: dict[str, object], key: str) -> list[Replacement]:
    name = here().account_block(account)
    saved = await _usable(BouncerAccount, name)
    if saved is None:
        return []
    found = []
    for field, value in values.items():
        has = getattr(saved, field)
        if has == value:
            continue
        variable = key if field == "api_key" else variable_of(field)
        # A text may be a key, or have one in it, as a URL of callbacks.
        values_of_it = f": {value} and not {has}" if isinstance(has, int | float) else ""
        what = f"block bouncer-account/{name} has another{values_of_it}"
        found.append(Replacement(variable, what, points_elsewhere=field in _ACCOUNT_ITSELF))
    return found


async def _usable(block: type[_Saved], name: str) -> _Saved | None:
    try:
        return await load_saved(block, name)
    except SettingRefused:
        return None


def _url(secret: SecretStr) -> URL | None:
    try:
        return make_url(secret.get_secret_value())
    except (ArgumentError, ValueError):
        return None


def _place(secret: SecretStr) -> tuple[str | int | None, ...]:
    url = _url(secret)
    return () if url is None else (url.host, url.port, url.database)


def _shown(secret: SecretStr) -> str:
    url = _url(secret)
    if url is None:
        return "a URL that cannot be read"
    if url.host is None:
        return f"the file {url.database}"
    if not url.password:
        # It may be what is taken for the host.
        return f"{url.database} on a server without a password"
    port = "" if url.port is None else f":{url.port}"
    return f"{url.database} at {url.host}{port}"
