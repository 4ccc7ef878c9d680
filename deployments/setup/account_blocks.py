"""The account blocks: what the environment says goes into them, and what else they have stays."""

from typing import Any

from pydantic import ValidationError
from sqlalchemy import Engine

from blocks.access import account_names
from blocks.bouncer_account import BouncerAccount
from blocks.limits import Limit
from blocks.saved_blocks import load_saved, refusal, saved_values
from bouncer.errors import KeyRefused, SettingRefused
from bouncer.installation import DEFAULT_NAME, NAME_VARIABLE, here
from deployments.setup.key_check import refuse_wrong_key

__all__ = ["check_account", "save_account", "saved_accounts", "wanted_limits"]


async def save_account(name: str, values: dict[str, Any], engine: Engine) -> list[str]:
    """Saves an account's block with what was set from outside. Its other fields stay as they are.

    A block that cannot be used as it was saved is mended where these values are what it takes.

    Args:
        name: Of the account.
        values: The fields that were set.
        engine: Of the contacts database, where a request that tries a new key is counted.

    Returns:
        A line that says so; none where the block is as it should be.

    Raises:
        SettingRefused: There is no key, or a field cannot be used; the message names it.
        KeyRefused: Bouncer does not take a key that would replace a saved one.
    """
    installation = here()
    document = installation.account_block(name)
    try:
        if not _differs(await load_saved(BouncerAccount, document), values):
            return []
    except SettingRefused:
        # As it was saved it is of no use; with these values it may be.
        pass
    saved = await saved_values(BouncerAccount, document)
    if saved and saved.get("installation", DEFAULT_NAME) != installation.name:
        raise SettingRefused(
            f"block bouncer-account/{document} is of installation {saved['installation']}; "
            f"set {NAME_VARIABLE} to another name"
        )
    values = {**saved, **values, "installation": installation.name}
    if "api_key" not in values:
        raise SettingRefused("BOUNCER_API_KEY is not set; take the key from app.usebouncer.com")
    account = _block(document, values)
    if saved.get("api_key") not in {None, account.api_key.get_secret_value()}:
        # All runs read the key from the block: a wrong one would stop what is under way.
        try:
            await refuse_wrong_key(account, engine, name)
        except KeyRefused as error:
            raise KeyRefused(f"{error}; block bouncer-account/{document} keeps the key that it has") from None
    await account.asave(document, overwrite=True)
    return [f"block bouncer-account/{document} saved"]


async def check_account(name: str, values: dict[str, Any]) -> list[str]:
    """Says what is off with an account's block; changes nothing.

    Args:
        name: Of the account.
        values: The fields that were set from outside.
    """
    document = here().account_block(name)
    try:
        saved = await load_saved(BouncerAccount, document)
    except SettingRefused as refused:
        return [str(refused)]
    if saved is None:
        return [f"block bouncer-account/{document} is missing"]
    return [f"block bouncer-account/{document} is not what the environment says"] if _differs(saved, values) else []


async def saved_accounts() -> dict[str, BouncerAccount]:
    """All saved accounts by name, also those that somebody has made in the UI.

    Raises:
        SettingRefused: One of them cannot be used.
    """
    accounts = {name: await load_saved(BouncerAccount, here().account_block(name)) for name in await account_names()}
    return {name: account for name, account in accounts.items() if account is not None}


def wanted_limits(accounts: dict[str, BouncerAccount]) -> list[Limit]:
    """The limits that the accounts need."""
    return [limit for name, account in accounts.items() for limit in account.limits(name)]


def _differs(account: BouncerAccount | None, values: dict[str, Any]) -> bool:
    return account is None or any(getattr(account, field) != value for field, value in values.items())


def _block(name: str, values: dict[str, Any]) -> BouncerAccount:
    try:
        return BouncerAccount(**values)
    except ValidationError as error:
        refused = refusal(BouncerAccount, name, error)
    # Out here, where the error is not even the context of this one: its values have the key among them.
    raise refused
