"""What a run has at hand: the account, its client, and the contacts database, whose calls run in threads."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Concatenate, ParamSpec, TypeVar, cast

from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError
from sqlalchemy import Connection, Engine

from blocks.bouncer_account import BouncerAccount
from blocks.contacts_database import ContactsDatabase
from bouncer.client import BouncerClient
from bouncer.database import read, write
from bouncer.errors import SettingRefused

__all__ = ["Access", "open_access", "open_database"]

_Params = ParamSpec("_Params")
_Return = TypeVar("_Return")


@dataclass(frozen=True)
class Access:
    """What a run has at hand.

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

    async def read(
        self, work: Callable[Concatenate[Connection, _Params], _Return], *args: _Params.args, **kwargs: _Params.kwargs
    ) -> _Return:
        """Runs ``work`` in a transaction that only reads, in a thread, so that the event loop goes on."""
        return await asyncio.to_thread(lambda: read(self.engine, work, *args, **kwargs))

    async def write(
        self, work: Callable[Concatenate[Connection, _Params], _Return], *args: _Params.args, **kwargs: _Params.kwargs
    ) -> _Return:
        """Runs ``work`` in one transaction, in a thread, so that the event loop goes on."""
        return await asyncio.to_thread(lambda: write(self.engine, work, *args, **kwargs))


@asynccontextmanager
async def open_access(name: str, caller: str) -> AsyncIterator[Access]:
    """Opens the account and the database by their blocks.

    Args:
        name: The account block's name.
        caller: A name for this run, unique over all workers.

    Yields:
        The access, whose client is closed afterwards.

    Raises:
        SettingRefused: A block is missing, or cannot be used.
    """
    engine = await open_database()
    try:
        account = cast("BouncerAccount", await BouncerAccount.aload(name))
    except ValidationError as error:
        # Without `from`: pydantic's text quotes the values, and with them the key.
        said = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise SettingRefused(f"block bouncer-account/{name} cannot be used: {said}") from None
    except (ObjectNotFound, ValueError):
        # Prefect raises ValueError for a block document that does not exist.
        raise SettingRefused(f"block bouncer-account/{name} is missing; run bouncer-flows setup") from None
    async with account.get_client(engine, name=name, caller=caller) as client:
        yield Access(name, account, engine, client)


async def open_database() -> Engine:
    """Opens the contacts database by its block; one engine a process.

    Raises:
        SettingRefused: The block is missing.
    """
    try:
        return cast("ContactsDatabase", await ContactsDatabase.aload("default")).get_engine()
    except (ObjectNotFound, ValueError):
        raise SettingRefused("block contacts-database/default is missing; run bouncer-flows setup") from None
