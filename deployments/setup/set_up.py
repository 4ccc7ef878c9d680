"""Setup: tables, blocks, limits, work pool and automations, as the settings ask for; says what it changed."""

import asyncio

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from pydantic import SecretStr

from blocks.bouncer_prices import ensure_prices
from blocks.contacts_database import ContactsDatabase
from blocks.limits_on_server import ensure_limit
from blocks.saved import load_saved
from bouncer.accounts.state import ensure_row
from bouncer.errors import SettingRefused
from bouncer.storage.engine import probe, read, write
from bouncer.storage.migrate import upgrade
from bouncer.storage.server_settings import unusable_settings
from deployments.server.home import make_home
from deployments.settings import Settings
from deployments.setup.account_blocks import save_account, saved_accounts, wanted_limits
from deployments.setup.wanted_automations import wanted_automations, wanted_deep_pass
from deployments.setup.work_pool import ensure_work_pool

__all__ = ["set_up", "set_up_deep_pass"]


async def set_up(settings: Settings) -> list[str]:
    """Makes or mends everything that runs need. Running it again changes nothing.

    What was not set from outside keeps the value that the block has.

    Args:
        settings: The environment.

    Returns:
        A line for each thing that was changed.

    Raises:
        SettingRefused: A setting or a saved block cannot be used, or one that has no default is missing.
        KeyRefused: Bouncer does not take a key that would replace a saved one.
        DatabaseUnavailable: The database cannot be reached.
    """
    saved = await load_saved(ContactsDatabase, "default")
    database = _database(settings, saved)
    changes = await asyncio.to_thread(_migrate, database)
    if saved is None or saved.url != database.url:
        await database.asave("default", overwrite=True)
        changes.append("block contacts-database/default saved")
    engine = database.get_engine()
    changes += await save_account("default", settings.account_values(), engine)
    if settings.deep_bouncer_api_key is not None:
        changes += await save_account("deep", settings.deep_account_values(), engine)
    accounts = await saved_accounts()
    for name in accounts:
        await asyncio.to_thread(write, engine, ensure_row, name)
    changes += await ensure_prices()
    async with get_client() as client:
        for limit in wanted_limits(accounts):
            changes += await ensure_limit(client, limit)
        changes += await ensure_work_pool(client)
        changes += await (await wanted_automations(client, settings, accounts.values())).ensure(client)
    return changes


async def set_up_deep_pass(client: PrefectClient) -> list[str]:
    """Lets the deep pass of each request follow its first one, where there is an account for it and a deployment.

    Returns:
        A line for each thing that was changed.
    """
    return await (await wanted_deep_pass(client, (await saved_accounts()).values())).ensure(client)


def _migrate(database: ContactsDatabase) -> list[str]:
    engine = database.get_engine()
    probe(engine)
    if wrong := read(engine, unusable_settings):
        raise SettingRefused(wrong[0])
    return upgrade(engine)


def _database(settings: Settings, saved: ContactsDatabase | None) -> ContactsDatabase:
    if saved is None:
        # Its default is a file in there, and nobody else makes the folder where PREFECT_API_URL names a server.
        make_home(settings.bouncer_flows_home)
        return ContactsDatabase(url=SecretStr(settings.url))
    if settings.database_url is None:
        return saved
    # How it is reached was set in the UI and stays.
    return ContactsDatabase(url=settings.database_url, tls=saved.tls, tls_authority=saved.tls_authority)
