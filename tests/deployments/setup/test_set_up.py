"""Setup: makes what runs need, says what it changed, changes nothing twice, and tells what is off."""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from prefect import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

from blocks.bouncer_account import BouncerAccount
from blocks.bouncer_prices import BouncerPrices
from blocks.contacts_database import engine_of
from bouncer.accounts import state as account_state
from bouncer.errors import DatabaseUnavailable, InputRefused, KeyRefused, SettingRefused
from bouncer.storage.engine import read
from deployments.server.local_server import LocalServer
from deployments.settings import Settings
from deployments.setup.check import check_setup
from deployments.setup.set_up import set_up
from tests.blocks.test_saved import chain_of
from tests.bouncer.storage.existing_tables import execute
from tests.deployments.running_commands import Started
from tests.flows.runs import until_it_holds
from tests.ports import free_port
from tests.prefect_server import forget_setup, save_in_the_ui, set_up_afresh
from tests.sandbox_process import SandboxHandle

_LIMITS = {
    "limit bouncer-batches set to 15 slots, 0 a second",
    "limit bouncer-api set to 20 slots, 3 a second",
    "limit bouncer-uploads set to 20 slots, 0.667 a second",
    "limit bouncer-realtime set to 100 slots, 15 a second",
}


@pytest.fixture
async def url(prefect_server: LocalServer, tmp_path: Path) -> AsyncIterator[str]:
    await forget_setup()
    yield f"sqlite:///{tmp_path / 'contacts.db'}"
    await forget_setup()


def _settings(url: str, **settings: Any) -> Settings:
    return Settings(database_url=url, **{"bouncer_api_key": "first-key", **settings})


@pytest.mark.mainline
async def test_setup_says_what_it_made_and_makes_nothing_twice(url: str) -> None:
    """The first run names the blocks and limits that it made; the second finds everything as it should be."""
    made = set(await set_up(_settings(url)))
    assert {"block contacts-database/default saved", "block bouncer-account/default saved", *_LIMITS} <= made
    assert await set_up(_settings(url)) == []
    assert await check_setup(_settings(url)) == []


async def test_callbacks_that_nobody_receives_are_told(url: str, tmp_path: Path) -> None:
    """Each lost upload would wait for hours in vain; whoever receives in this environment is not asked."""
    port = free_port()
    settings = _settings(url, callback_url=f"http://127.0.0.1:{port}/bouncer")
    await set_up(settings)
    (said,) = await check_setup(settings)
    assert said.startswith("nothing answers at CALLBACK_URL")
    assert await check_setup(settings.model_copy(update={"callback_port": port})) == []
    receiver = Started(["callbacks"], tmp_path, DATABASE_URL=url, CALLBACK_PORT=str(port))

    @until_it_holds
    async def nothing_is_off() -> None:
        assert await check_setup(settings) == []

    with receiver:
        await nothing_is_off()
        receiver.send(signal.SIGTERM)
        assert receiver.wait(30) == 0
    assert await check_setup(settings) == [said]


@pytest.mark.mainline
async def test_only_what_changed_is_changed(url: str) -> None:
    """A new setting goes into the block and its limit; what was set in the UI or not at all stays as it is."""
    await set_up(_settings(url))
    account = cast("BouncerAccount", await BouncerAccount.aload("default"))
    account.batch_size = 123
    await account.asave("default", overwrite=True)
    changed = await set_up(_settings(url, rate_limit_per_minute=100))
    assert changed == [
        "block bouncer-account/default saved",
        "limit bouncer-api set to 10 slots, 1.5 a second",
    ]
    account = cast("BouncerAccount", await BouncerAccount.aload("default"))
    assert (account.batch_size, account.rate_limit_per_minute) == (123, 100)
    assert account.api_key.get_secret_value() == "first-key"
    # Without any setting, the blocks are what counts.
    assert await set_up(Settings()) == []


async def test_an_account_that_was_added_can_be_named_by_its_commands(url: str) -> None:
    """A block that somebody saved under another name is known to pause and resume once setup has seen it."""
    await set_up(_settings(url))
    account = cast("BouncerAccount", await BouncerAccount.aload("default"))
    await account.asave("second", overwrite=True)
    engine = engine_of(url)
    with pytest.raises(InputRefused, match="no account second"):
        read(engine, account_state.known_or_all, "second")
    await set_up(_settings(url))
    assert read(engine, account_state.known_or_all, "second") == ["second"]
    assert read(engine, account_state.known_or_all, None) == ["default", "second"]
    await BouncerAccount.adelete("second")


async def test_a_first_setup_needs_a_key(url: str) -> None:
    """Without a key there is nothing to verify with; the message says where to take one."""
    with pytest.raises(SettingRefused, match=r"BOUNCER_API_KEY is not set; take the key from app\.usebouncer\.com"):
        await set_up(Settings(database_url=url))


async def test_settings_that_contradict_the_block_are_refused(url: str) -> None:
    """A shortest poll interval above the longest is refused, whichever of them the block has; no key is shown."""
    await set_up(_settings(url))
    with pytest.raises(SettingRefused) as refusal:
        await set_up(_settings(url, bouncer_api_key="marked-key", poll_seconds_min=60))
    assert "POLL_SECONDS_MAX must not be less than POLL_SECONDS_MIN" in str(refusal.value)
    assert "marked" not in str(refusal.value)


async def test_a_wrong_key_does_not_take_the_place_of_a_good_one(url: str, sandbox: SandboxHandle) -> None:
    """A key with a slip of the pen once stopped all that was under way, since every run reads it from the block."""
    await set_up(_settings(url, bouncer_api_key=sandbox.key, bouncer_api_base_url=sandbox.url))
    with pytest.raises(KeyRefused, match=r"401.*; block bouncer-account/default keeps the key that it has"):
        await set_up(_settings(url, bouncer_api_key="slip", bouncer_api_base_url=sandbox.url))
    assert await _saved_key() == sandbox.key
    sandbox.post("/_sandbox/keys", {"key": "rotated-key", "credits": 10})
    await set_up(_settings(url, bouncer_api_key="rotated-key", bouncer_api_base_url=sandbox.url))
    assert await _saved_key() == "rotated-key"


async def test_a_key_is_saved_while_bouncer_is_away(url: str) -> None:
    """A Bouncer that does not answer says nothing about a key, and keeps nobody from rotating it."""
    nobody = "http://127.0.0.1:9/v1.1"
    await set_up(_settings(url, bouncer_api_base_url=nobody))
    await set_up(_settings(url, bouncer_api_key="second-key", bouncer_api_base_url=nobody))
    assert await _saved_key() == "second-key"


async def _saved_key() -> str:
    account = cast("BouncerAccount", await BouncerAccount.aload("default"))
    return account.api_key.get_secret_value()


async def test_a_database_that_is_not_there_is_told_at_once(url: str) -> None:
    """A wrong address in DATABASE_URL is one message, and nothing is saved."""
    with pytest.raises(DatabaseUnavailable, match="the database cannot be used; check DATABASE_URL"):
        await set_up(_settings("mysql://me:marked-password@127.0.0.1:1/contacts"))
    assert await check_setup(Settings()) == [
        "block contacts-database/default is missing",
        "block bouncer-account/default is missing",
    ]


async def _change_limit(url: str, **values: Any) -> None:
    async with get_client() as client:
        await client.update_global_concurrency_limit("bouncer-api", GlobalConcurrencyLimitUpdate(**values))


async def _obvious_but_wrong_limit(url: str) -> None:
    await _change_limit(url, limit=200, slot_decay_per_second=3.333)


async def _inactive_limit(url: str) -> None:
    await _change_limit(url, active=False)


async def _no_limit(url: str) -> None:
    async with get_client() as client:
        await client.delete_global_concurrency_limit_by_name("bouncer-uploads")


async def _other_key(url: str) -> None:
    account = cast("BouncerAccount", await BouncerAccount.aload("default"))
    await account.model_copy(update={"batch_size": 1}).asave("default", overwrite=True)


async def _no_account(url: str) -> None:
    await BouncerAccount.adelete("default")


async def _older_tables(url: str) -> None:
    execute(engine_of(url), "UPDATE bouncer_schema_version SET version_num = '0008'")


async def test_a_block_that_was_saved_inconsistently_is_mended_by_its_variable(url: str) -> None:
    """What was mistyped in the UI is named by the check and by setup; set right from outside, all else stays."""
    await set_up(_settings(url, bouncer_api_key="marked-key", batch_size=321))
    await save_in_the_ui(BouncerAccount, poll_seconds_min=20, poll_seconds_max=4)
    (found,) = await check_setup(Settings())
    assert "block bouncer-account/default cannot be used: POLL_SECONDS_MAX must not be less" in found
    with pytest.raises(SettingRefused) as refusal:
        await set_up(Settings())
    assert str(refusal.value) == found
    assert "marked" not in chain_of(refusal.value)
    changed = await set_up(Settings(poll_seconds_max=40))
    assert changed == ["block bouncer-account/default saved"]
    account = cast("BouncerAccount", await BouncerAccount.aload("default"))
    assert (account.poll_seconds_min, account.poll_seconds_max, account.batch_size) == (20, 40, 321)
    assert account.api_key.get_secret_value() == "marked-key"
    assert await check_setup(Settings()) == []


async def test_prices_that_are_missing_or_make_no_sense_are_told(url: str) -> None:
    """The check names the block of prices; setup makes it where it is missing, and is not stopped by a wrong one."""
    await set_up(_settings(url))
    await save_in_the_ui(BouncerPrices, prices={})
    (found,) = await check_setup(Settings())
    assert "block bouncer-prices/default cannot be used: prices: " in found
    assert await set_up(Settings()) == []
    await BouncerPrices.adelete("default")
    assert await check_setup(Settings()) == ["block bouncer-prices/default is missing"]
    assert await set_up(Settings()) == ["block bouncer-prices/default saved, with Bouncer's published prices"]
    assert await check_setup(Settings()) == []


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_obvious_but_wrong_limit, "limit bouncer-api is missing or set otherwise"),
        (_inactive_limit, "limit bouncer-api is missing or set otherwise"),
        (_no_limit, "limit bouncer-uploads is missing or set otherwise"),
        (_other_key, "block bouncer-account/default is not what the environment says"),
        (_no_account, "block bouncer-account/default is missing"),
        (_older_tables, "0009"),
    ],
)
async def test_the_check_finds_what_is_off_and_setup_mends_it(
    url: str, damage: Callable[[str], Awaitable[None]], said: str
) -> None:
    """Each thing that runs need is looked at; the check changes nothing, and setup puts it right."""
    settings = _settings(url, batch_size=500)
    await set_up_afresh(url, bouncer_api_key="first-key", batch_size=500)
    await damage(url)
    (found,) = await check_setup(settings)
    assert said in found
    assert await check_setup(settings) == [found]
    await set_up(settings)
    assert await check_setup(settings) == []
