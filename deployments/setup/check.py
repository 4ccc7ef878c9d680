"""``setup --check``: what is not as runs need it, said and left as it is."""

import asyncio

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound

from blocks.access import account_names
from blocks.bouncer_account import BouncerAccount
from blocks.bouncer_prices import check_prices
from blocks.contacts_database import ContactsDatabase
from blocks.limits_on_server import is_set
from blocks.saved_blocks import load_saved
from bouncer.errors import SettingRefused
from bouncer.installation import here
from bouncer.storage.engine import probe
from bouncer.storage.migrate import pending
from bouncer.storage.server_settings import unusable_settings
from bouncer.storage.urls import sqlite_file
from deployments.settings import Settings
from deployments.setup.account_blocks import check_account, saved_accounts, wanted_limits
from deployments.setup.callback_check import is_answered
from deployments.setup.deployments_from_yaml import deployment_names
from deployments.setup.wanted_automations import wanted_automations
from deployments.setup.work_pool import missing_queues, pool_name
from tasks.monitoring.measure import count_workers
from tasks.running.server_faults import server_faults

__all__ = ["check_server", "check_setup"]


async def check_setup(settings: Settings) -> list[str]:
    """Says what is off, and changes nothing.

    Args:
        settings: The environment.

    Returns:
        A line for each thing that is not as runs need it; empty where all is well.
    """
    wrong = [*await _check_database(settings), *await _check_accounts(settings)]
    try:
        accounts = await saved_accounts()
    except SettingRefused:
        # Told already; which limits and automations there should be, nobody can say without it.
        return wrong
    if "default" not in accounts:
        return wrong
    wrong += await _check_callbacks(accounts["default"], settings)
    wrong += await check_prices()
    async with get_client() as client:
        wrong += [
            f"limit {limit.name} is missing or set otherwise"
            for limit in wanted_limits(accounts)
            if not await is_set(client, limit)
        ]
        wrong += await (await wanted_automations(client, settings, accounts.values())).check(client)
        wrong += await _check_workers(client, pool_name(settings.work_pool))
    return [*wrong, *await check_server()]


async def check_server() -> list[str]:
    """Says what setup cannot mend: a line for each setting of the Prefect server that is off."""
    async with get_client() as client:
        return await server_faults(client)


async def _check_database(settings: Settings) -> list[str]:
    try:
        database = await load_saved(ContactsDatabase, here().block)
    except SettingRefused as refused:
        return [str(refused)]
    if database is None:
        return [f"block contacts-database/{here().block} is missing"]
    file = sqlite_file(database.url.get_secret_value())
    if file is not None and not file.exists():
        # To connect to it would make it.
        return [f"block contacts-database/{here().block} names {file}, which is not there"]
    engine = database.get_engine()
    await asyncio.to_thread(probe, engine)
    wrong = await asyncio.to_thread(unusable_settings, engine)
    wrong += await asyncio.to_thread(pending, engine)
    if settings.database_url is not None and database.url.get_secret_value() != settings.url:
        wrong.append(f"block contacts-database/{here().block} is not what DATABASE_URL says")
    return wrong


async def _check_accounts(settings: Settings) -> list[str]:
    values = {"default": settings.account_values()}
    if settings.deep_bouncer_api_key is not None:
        values["deep"] = settings.deep_account_values()
    values |= {name: {} for name in await account_names() if name not in values}
    return [line for name, wanted in values.items() for line in await check_account(name, wanted)]


async def _check_callbacks(account: BouncerAccount, settings: Settings) -> list[str]:
    # With a port, this machine's own commands receive, perhaps not at the moment.
    if account.callback_url is None or settings.callback_port or await is_answered(account.callback_url):
        return []
    return ["nothing answers at CALLBACK_URL, so lost uploads wait in vain; bouncer-flows callbacks receives"]


async def _check_workers(client: PrefectClient, pool: str) -> list[str]:
    # Only where workers wait for runs: `serve` makes its own at each start, and needs no pool.
    online = await count_workers(client, pool)
    if online is None:
        return []
    missing = await missing_queues(client, pool)
    if not online:
        return missing
    for name in deployment_names():
        try:
            await client.read_deployment_by_name(name)
        except ObjectNotFound:
            missing.append(f"deployment {name} is missing; run bouncer-flows deploy")
    return missing
