"""Setup: tables, blocks, limits and automations, as the settings ask for; says what it changed."""

import asyncio
from pathlib import Path

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.context import AsyncClientContext
from pydantic import SecretStr
from sqlalchemy import Engine

from blocks.bouncer_prices import ensure_prices
from blocks.contacts_database import ContactsDatabase
from blocks.last_database import last_database, note_database
from blocks.limits_on_server import ensure_limit
from blocks.saved_blocks import load_saved
from bouncer.accounts.state import ensure_row
from bouncer.errors import SettingRefused
from bouncer.installation import here
from bouncer.storage.engine import probe
from bouncer.storage.identity import database_id
from bouncer.storage.migrate import upgrade
from bouncer.storage.server_settings import unusable_settings
from deployments.known_database import missing_file, note_here, refuse_missing_file
from deployments.last_set_up import note_set_up
from deployments.server.home import make_home
from deployments.settings import Settings
from deployments.setup.account_blocks import save_account, saved_accounts, wanted_limits
from deployments.setup.foreign_names import refuse_foreign_names
from deployments.setup.replacements import replacements
from deployments.setup.wanted_automations import wanted_automations, wanted_deep_pass
from deployments.setup.work_pool import ensure_work_pool, pool_name

__all__ = ["set_up", "set_up_deep_pass", "set_up_pool", "set_up_the_rest"]


async def set_up(settings: Settings) -> list[str]:
    """Makes or mends everything that runs need. Running it again changes nothing.

    What was not set from outside keeps the value that the block has.

    Args:
        settings: The environment.

    Returns:
        A line for each thing that was changed.

    Raises:
        SettingRefused: A setting or a saved block cannot be used, or one that has no default is missing; or others on
            the server have names that this installation needs.
        KeyRefused: Bouncer does not take a key that would replace a saved one.
        DatabaseUnavailable: The database cannot be reached.
    """
    # One client for all that follows: to make one takes longer than to ask with it.
    async with AsyncClientContext.get_or_create():
        return await _set_up(settings)


async def set_up_the_rest(settings: Settings, *, new: bool = False) -> list[str]:
    """Makes what is missing, for commands that do not stand for a decision: no block that is there is changed.

    Args:
        settings: The environment.
        new: Whether an SQLite file that DATABASE_URL names is made where it is not there.

    Returns:
        A line for each thing that was made.

    Raises:
        SettingRefused: The environment says otherwise than a saved block, or names a file that is not there; or like
            ``set_up``.
    """
    async with AsyncClientContext.get_or_create():
        if found := await replacements(settings):
            remedy = "run bouncer-flows setup to have the installation so"
            if found[0].variable.isupper():
                remedy = f"unset it, or {remedy}"
            raise SettingRefused(f"{found[0].variable}: {found[0].what}; {remedy}")
        if not new:
            refuse_missing_file(settings)
        return await _set_up(settings)


async def set_up_pool(settings: Settings) -> list[str]:
    """Makes what workers need beside it: the work pool and its queues.

    Returns:
        A line for each thing that was made.

    Raises:
        SettingRefused: WORK_POOL names a pool that is not there.
    """
    async with get_client() as client:
        return await ensure_work_pool(client, pool_name(settings.work_pool))


async def set_up_deep_pass(client: PrefectClient) -> list[str]:
    """Lets the deep pass of each request follow its first one, where there is an account for it and a deployment.

    Returns:
        A line for each thing that was changed.
    """
    return await (await wanted_deep_pass(client, (await saved_accounts()).values())).ensure(client)


async def _set_up(settings: Settings) -> list[str]:
    saved = await load_saved(ContactsDatabase, here().block)
    if saved is None:
        async with get_client() as client:
            await refuse_foreign_names(client)
    database = _database(settings, saved)
    made = missing_file(settings)
    changes = await asyncio.to_thread(_migrate, database)
    if made:
        changes.insert(0, f"made the database {made}")
    if saved is None or saved.url != database.url:
        await database.asave(here().block, overwrite=True)
        changes.append(f"block contacts-database/{here().block} saved")
    engine = database.get_engine()
    changes += await _note_database(engine, settings.bouncer_flows_home)
    changes += await save_account("default", settings.account_values(), engine)
    if settings.deep_bouncer_api_key is not None:
        changes += await save_account("deep", settings.deep_account_values(), engine)
    accounts = await saved_accounts()
    for name in accounts:
        await asyncio.to_thread(ensure_row, engine, name)
    changes += await ensure_prices()
    async with get_client() as client:
        for limit in wanted_limits(accounts):
            changes += await ensure_limit(client, limit)
        changes += await (await wanted_automations(client, settings, accounts.values())).ensure(client)
    if settings.database_url is not None and not (database.tls or database.tls_authority):
        # Else only the block tells which database that is, or how it is reached.
        await asyncio.to_thread(note_set_up, settings, engine)
    return changes


async def _note_database(engine: Engine, home: Path) -> list[str]:
    found, last = await asyncio.to_thread(database_id, engine), await last_database()
    if found is None:
        return []
    note_here(home, found)
    if found == last:
        return []
    await note_database(found)
    return [] if last is None else ["another contacts database is worked on from now on"]


def _migrate(database: ContactsDatabase) -> list[str]:
    engine = database.get_engine()
    probe(engine)
    if wrong := unusable_settings(engine):
        raise SettingRefused(wrong[0])
    return upgrade(engine)


def _database(settings: Settings, saved: ContactsDatabase | None) -> ContactsDatabase:
    if saved is None:
        # Its default is a file in there, and nobody else makes the folder where another server is used.
        make_home(settings.bouncer_flows_home)
        return ContactsDatabase(url=SecretStr(settings.url))
    if settings.database_url is None:
        return saved
    # How it is reached was set in the UI and stays.
    return ContactsDatabase(url=SecretStr(settings.url), tls=saved.tls, tls_authority=saved.tls_authority)
