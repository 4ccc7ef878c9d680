"""Setup: tables, blocks, limits, work pool and automations, as the settings ask for; says what it changed."""

import asyncio
from typing import Any, cast

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from pydantic import SecretStr, ValidationError
from sqlalchemy import Engine

from blocks.access import account_names
from blocks.bouncer_account import BouncerAccount
from blocks.bouncer_prices import ensure_prices
from blocks.contacts_database import ContactsDatabase
from blocks.limits import Limit, limits_of
from bouncer.accounts import ensure_row
from bouncer.database import probe, write
from bouncer.errors import KeyRefused, SettingRefused
from bouncer.migrate import pending, upgrade
from bouncer.tables import Layer
from deployments.automations import (
    AUTOMATIONS,
    DEEPER_LOOKS,
    NOTIFICATIONS,
    deep_pass,
    ensure_automation,
    ensure_no_automation,
    is_as_wanted,
    notifications,
)
from deployments.key_check import refuse_wrong_key
from deployments.settings import Settings
from deployments.work_pool import ensure_work_pool, missing_queues
from tasks.check import keeps_leases_in_memory

__all__ = ["check_setup", "set_up", "set_up_deep_pass"]

_VERIFY_RISKY = "verify-risky/verify-risky"


async def set_up(settings: Settings) -> list[str]:
    """Makes or mends everything that runs need. Running it again changes nothing.

    What was not set from outside keeps the value that the block has.

    Args:
        settings: The environment.

    Returns:
        A line for each thing that was changed.

    Raises:
        SettingRefused: A setting cannot be used, or one that has no default is missing.
        KeyRefused: Bouncer does not take a key that would replace a saved one.
        DatabaseUnavailable: The database cannot be reached.
    """
    database = await _database(settings)
    changes = await asyncio.to_thread(_migrate, database)
    changes += await _save_database(database)
    engine = database.get_engine()
    await _save_account("default", settings.account_values(), engine, changes)
    if settings.deep_bouncer_api_key is not None:
        await _save_account("deep", settings.deep_account_values(), engine, changes)
    for name in await account_names():
        await asyncio.to_thread(write, engine, ensure_row, name)
    changes += await ensure_prices()
    async with get_client() as client:
        for limit in await _wanted_limits():
            changes += await _set_limit(client, limit)
        changes += await ensure_work_pool(client)
        for automation in (*AUTOMATIONS, *await _notifications(client, settings)):
            changes += await ensure_automation(client, automation)
        changes += await set_up_deep_pass(client)
        if settings.alert_block is None:
            for name in NOTIFICATIONS:
                changes += await ensure_no_automation(client, name)
    return changes


async def check_setup(settings: Settings) -> list[str]:
    """Says what is off, and changes nothing.

    Args:
        settings: The environment.

    Returns:
        A line for each thing that is not as runs need it; empty where all is well.
    """
    wrong: list[str] = []
    database = await _saved_database()
    account = await _saved_account("default")
    if database is None:
        wrong.append("block contacts-database/default is missing")
    else:
        engine = database.get_engine()
        await asyncio.to_thread(probe, engine)
        wrong += await asyncio.to_thread(pending, engine)
        if settings.database_url is not None and database.url != settings.database_url:
            wrong.append("block contacts-database/default is not what DATABASE_URL says")
    if account is None:
        return [*wrong, "block bouncer-account/default is missing"]
    if _differs(account, settings.account_values()):
        wrong.append("block bouncer-account/default is not what the environment says")
    if settings.deep_bouncer_api_key is not None and _differs(
        await _saved_account("deep"), settings.deep_account_values()
    ):
        wrong.append("block bouncer-account/deep is not what the environment says")
    async with get_client() as client:
        for limit in await _wanted_limits():
            if not await _stands(client, limit):
                wrong.append(f"limit {limit.name} is missing or set otherwise")
        wrong += await missing_queues(client)
        wrong += [
            f"automation {automation.name!r} is missing or set otherwise"
            for automation in (*AUTOMATIONS, *await _notifications(client, settings), *await _deep_pass(client))
            if not await is_as_wanted(client, automation)
        ]
        if await keeps_leases_in_memory(client):
            wrong.append("the Prefect server keeps slot leases in memory, so slots leak when it is killed")
    return wrong


async def set_up_deep_pass(client: PrefectClient) -> list[str]:
    """Lets the deep pass of each request follow its first one, where there is an account for it and a deployment.

    Returns:
        A line for each thing that was changed.
    """
    wanted = await _deep_pass(client)
    if not wanted:
        return await ensure_no_automation(client, DEEPER_LOOKS)
    return [line for automation in wanted for line in await ensure_automation(client, automation)]


async def _deep_pass(client: PrefectClient) -> list[AutomationCore]:
    if not any(account.layer is Layer.DEEP for _, account in await _saved_accounts()):
        return []
    try:
        deployment = await client.read_deployment_by_name(_VERIFY_RISKY)
    except ObjectNotFound:
        return []
    return [deep_pass(deployment.id)]


def _migrate(database: ContactsDatabase) -> list[str]:
    engine = database.get_engine()
    probe(engine)
    return upgrade(engine)


async def _database(settings: Settings) -> ContactsDatabase:
    saved = await _saved_database()
    if saved is None:
        return ContactsDatabase(url=SecretStr(settings.url))
    if settings.database_url is None:
        return saved
    # How it is reached was set in the UI and stays.
    return ContactsDatabase(url=settings.database_url, tls=saved.tls, tls_authority=saved.tls_authority)


async def _saved_database() -> ContactsDatabase | None:
    try:
        return cast("ContactsDatabase", await ContactsDatabase.aload("default"))
    except (ObjectNotFound, ValueError):
        return None


async def _saved_account(name: str) -> BouncerAccount | None:
    try:
        return cast("BouncerAccount", await BouncerAccount.aload(name))
    except (ObjectNotFound, ValueError):
        return None


async def _save_database(database: ContactsDatabase) -> list[str]:
    saved = await _saved_database()
    if saved is not None and saved.url == database.url:
        return []
    await database.asave("default", overwrite=True)
    return ["block contacts-database/default saved"]


def _differs(account: BouncerAccount | None, values: dict[str, Any]) -> bool:
    return account is None or any(getattr(account, field) != value for field, value in values.items())


async def _saved_accounts() -> list[tuple[str, BouncerAccount]]:
    # All of them: also those that somebody has made in the UI.
    return [(name, cast("BouncerAccount", await BouncerAccount.aload(name))) for name in await account_names()]


async def _wanted_limits() -> list[Limit]:
    return [
        limit
        for name, account in await _saved_accounts()
        for limit in limits_of(
            name, batches=account.max_concurrent_batches, requests_per_minute=account.rate_limit_per_minute
        )
    ]


async def _save_account(name: str, values: dict[str, Any], engine: Engine, changes: list[str]) -> None:
    saved = await _saved_account(name)
    if saved is not None:
        if not _differs(saved, values):
            return
        kept = {field: getattr(saved, field) for field in BouncerAccount.model_fields if field not in values}
        values = {**kept, **values}
    elif "api_key" not in values:
        raise SettingRefused("BOUNCER_API_KEY is not set; take the key from app.usebouncer.com")
    try:
        account = BouncerAccount(**values)
    except ValidationError as error:
        # Without `from`: pydantic's text quotes the values, and with them the key.
        raise SettingRefused(str(error.errors()[0]["msg"]).removeprefix("Value error, ")) from None
    if saved is not None and saved.api_key != account.api_key:
        # All runs read the key from the block: a wrong one would stop what is under way.
        try:
            await refuse_wrong_key(account, engine, name)
        except KeyRefused as error:
            raise KeyRefused(f"{error}; block bouncer-account/{name} keeps the key that it has") from None
    await account.asave(name, overwrite=True)
    changes.append(f"block bouncer-account/{name} saved")


async def _notifications(client: PrefectClient, settings: Settings) -> tuple[AutomationCore, ...]:
    if settings.alert_block is None:
        return ()
    block_type, name = settings.alert_block.split("/")
    try:
        block = await client.read_block_document_by_name(name, block_type, include_secrets=False)
    except ObjectNotFound:
        raise SettingRefused(f"ALERT_BLOCK: there is no block {settings.alert_block}; make it in Prefect") from None
    if block.block_schema is None or "notify" not in block.block_schema.capabilities:
        raise SettingRefused(f"ALERT_BLOCK: block {settings.alert_block} cannot notify anybody; name one that can")
    return notifications(block.id)


async def _stands(client: PrefectClient, limit: Limit) -> bool:
    try:
        found = await client.read_global_concurrency_limit_by_name(limit.name)
    except ObjectNotFound:
        return False
    decay = round(found.slot_decay_per_second, 3)
    return bool(found.active) and (found.limit, decay) == (limit.slots, round(limit.decay_per_second, 3))


async def _set_limit(client: PrefectClient, limit: Limit) -> list[str]:
    if await _stands(client, limit):
        return []
    values = {"limit": limit.slots, "slot_decay_per_second": limit.decay_per_second, "active": True}
    try:
        await client.update_global_concurrency_limit(limit.name, GlobalConcurrencyLimitUpdate(**values))
    except ObjectNotFound:
        await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=limit.name, **values))
    return [f"limit {limit.name} set to {limit.slots} slots, {limit.decay_per_second:.3g} a second"]
