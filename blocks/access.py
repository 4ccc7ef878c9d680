"""Access of a run to its account, its client, and the contacts database, whose calls run in threads."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import httpx
from prefect import get_client
from sqlalchemy import Engine

from blocks.bouncer_account import BouncerAccount
from blocks.contacts_database import ContactsDatabase
from blocks.saved_blocks import load_saved
from bouncer.api.client import BouncerClient
from bouncer.concurrency import await_all
from bouncer.errors import SettingRefused
from bouncer.installation import DEFAULT_NAME, here
from bouncer.storage.tables import Layer
from bouncer.storage.transactions import BesideTheLoop
from bouncer.storage.urls import sqlite_file

__all__ = ["Access", "account_names", "among", "open_access", "open_accounts", "open_database"]

_Params = ParamSpec("_Params")
_Return = TypeVar("_Return")


@dataclass(frozen=True)
class Access(BesideTheLoop):
    """Access of a run to its account and the contacts database.

    Attributes:
        name: The name of the account block.
        account: The account's settings.
        engine: Of the contacts database.
        client: Of Bouncer, behind the shared limits.
    """

    name: str
    account: BouncerAccount = field(repr=False)
    engine: Engine = field(repr=False)
    client: BouncerClient = field(repr=False)

    @property
    def layer(self) -> Layer:
        """The layer that the account serves."""
        return self.account.layer


@asynccontextmanager
async def open_access(name: str, caller: str, engine: Engine | None = None) -> AsyncIterator[Access]:
    """Opens the account and the database by their blocks.

    Args:
        name: The account block's name.
        caller: A name for this run, unique over all workers.
        engine: Of the contacts database where it is open already, by its block.

    Yields:
        The access, whose client is closed afterwards.

    Raises:
        SettingRefused: A block is missing, or cannot be used.
    """
    engine = engine or await open_database()
    async with _opened(name, await _load_account(name), engine, caller) as access:
        yield access


async def account_names() -> list[str]:
    """The accounts of this installation, by its saved blocks, the default one first."""
    installation = here()
    async with get_client() as client:
        try:
            documents = await client.read_block_documents_by_type("bouncer-account", include_secrets=False)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.NOT_FOUND:
                raise
            # The type is not known before the first block of it is saved.
            return []
    names = [
        installation.account_of(document.name)
        for document in documents
        if document.name is not None and document.data.get("installation", DEFAULT_NAME) == installation.name
    ]
    return sorted((name for name in names if name is not None), key=lambda name: (name != "default", name))


@asynccontextmanager
async def open_accounts(
    names: Sequence[str] | None, caller: str, *, layer: Layer | None = None
) -> AsyncIterator[list[Access]]:
    """Opens several accounts over the one database.

    Args:
        names: The account blocks' names; all saved ones if there are none.
        caller: A name for this run, unique over all workers.
        layer: Only those that serve this layer, or None for all.

    Yields:
        The accesses, in the order of the names.

    Raises:
        SettingRefused: A block is missing or cannot be used, or none serves the layer.
    """
    async with AsyncExitStack() as opened:
        engine, chosen = await open_database(), names or await account_names() or ["default"]
        blocks = await await_all(*(_load_account(name) for name in chosen))
        accounts = [
            await opened.enter_async_context(_opened(name, account, engine, caller))
            for name, account in zip(chosen, blocks, strict=True)
        ]
        serving = [access for access in accounts if layer is None or access.layer is layer]
        if not serving:
            key = "DEEP_BOUNCER_API_KEY" if layer is Layer.DEEP else "BOUNCER_API_KEY"
            raise SettingRefused(f"no account block serves the {layer} layer; set {key}, then run bouncer-flows setup")
        yield serving


def among(accounts: Sequence[Access], names: Sequence[str] | None) -> list[Access]:
    """Picks accounts by their names, or all if there are none.

    Raises:
        SettingRefused: There is no such account.
    """
    known = {access.name for access in accounts}
    for name in names or ():
        if name not in known:
            raise SettingRefused(_missing(name))
    return [access for access in accounts if not names or access.name in names]


async def open_database() -> Engine:
    """Opens the contacts database by its block; one engine a process.

    Raises:
        SettingRefused: The block is missing or cannot be used, or names an SQLite file that this machine has not.
    """
    database = await load_saved(ContactsDatabase, here().block)
    if database is None:
        raise SettingRefused(f"block contacts-database/{here().block} is missing; run bouncer-flows setup")
    file = sqlite_file(database.url.get_secret_value())
    if file is not None and not await asyncio.to_thread(file.exists):
        # To connect to it would make an empty one.
        raise SettingRefused(
            f"block contacts-database/{here().block} names {file}, which is not on this machine; workers on other "
            "machines need MariaDB or MySQL, which bouncer-flows move goes over to"
        )
    return database.get_engine()


@asynccontextmanager
async def _opened(name: str, account: BouncerAccount, engine: Engine, caller: str) -> AsyncIterator[Access]:
    async with account.get_client(engine, name=name, caller=caller) as client:
        yield Access(name, account, engine, client)


async def _load_account(name: str) -> BouncerAccount:
    account = await load_saved(BouncerAccount, here().account_block(name))
    if account is None:
        raise SettingRefused(_missing(name))
    return account


def _missing(name: str) -> str:
    return f"block bouncer-account/{here().account_block(name)} is missing; run bouncer-flows setup"
