"""A block that was saved inconsistently in the UI is told by its field, and its key stays secret."""

import asyncio
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import get_client
from prefect.events.clients import AssertingEventsClient
from prefect.events.worker import EventsWorker

from blocks.access import open_access, open_database
from blocks.bouncer_account import BouncerAccount
from blocks.contacts_database import ContactsDatabase
from blocks.saved_blocks import load_saved
from bouncer.errors import SettingRefused
from flows.ingest import ingest
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.prefect_server import save_in_the_ui, send_what_waits
from tests.sandbox_process import SandboxHandle

pytestmark = on_sqlite

_KEY = "marked-key-9c41"


def _chained(error: BaseException | None) -> Iterator[BaseException]:
    # Also what `from None` hides from Python's own tracebacks: others look there.
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def chain_of(error: BaseException) -> str:
    """All texts of an error and of those behind it."""
    return "\n".join(f"{one!r} {one} {''.join(traceback.format_exception(one))}" for one in _chained(error))


async def _opened() -> None:
    async with open_access("default", "a caller"):
        pass


async def _loaded() -> None:
    await load_saved(BouncerAccount, "default")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"poll_seconds_min": 20, "poll_seconds_max": 4}, "POLL_SECONDS_MAX must not be less than POLL_SECONDS_MIN"),
        ({"batch_size": 0}, "batch_size: Input should be greater than or equal to 1"),
        ({"api_key": {"nested": _KEY}}, "api_key: Input should be a valid string"),
        ({"base_url": "http://example.com"}, "BOUNCER_API_BASE_URL"),
    ],
)
async def test_the_field_is_named_and_the_key_is_not(
    set_up_account: SetUpAccount,
    fields: dict[str, object],
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever loads the block says what is wrong with it and what to do; no text and no log has the key."""
    caplog.set_level(logging.DEBUG)
    await set_up_account(bouncer_api_key=_KEY)
    await save_in_the_ui(BouncerAccount, **fields)
    for use in (_opened, _loaded, ingest):
        with pytest.raises(SettingRefused) as refusal:
            await use()
        text = str(refusal.value)
        assert text.startswith("block bouncer-account/default cannot be used: ")
        assert said in text
        assert "; mend it in the Prefect UI under Blocks, or set the field's variable, if it has one" in text
        # A part of it is enough to be a leak: pydantic shortens what it quotes.
        for shown in (chain_of(refusal.value), caplog.text):
            assert _KEY[:6] not in shown


async def test_prefects_own_error_has_no_secret_either(set_up_account: SetUpAccount) -> None:
    """Where somebody loads the blocks without this project's loader, pydantic quotes nothing of them."""
    await set_up_account(bouncer_api_key=_KEY)
    await save_in_the_ui(BouncerAccount, poll_seconds_max=0.01)
    with pytest.raises(RuntimeError) as failure:
        await BouncerAccount.aload("default")
    assert _KEY[:6] not in chain_of(failure.value)
    await save_in_the_ui(ContactsDatabase, url="mysql://me:marked-password@host/name", tls="perhaps")
    with pytest.raises(SettingRefused, match="block contacts-database/default cannot be used: tls: ") as refusal:
        await open_database()
    assert "marked" not in chain_of(refusal.value)


async def test_a_worker_on_another_machine_makes_no_empty_database(
    set_up_account: SetUpAccount, tmp_path: Path
) -> None:
    """It has not the SQLite file of the machine that ran setup: it made an empty one, and ended in SQL's words."""
    await set_up_account()
    elsewhere = tmp_path / "contacts.db"
    await save_in_the_ui(ContactsDatabase, url=f"sqlite:///{elsewhere}")
    for use in (_opened, open_database):
        with pytest.raises(SettingRefused, match=f"names {elsewhere}, which is not on this machine; workers on other"):
            await use()
    assert not elsewhere.exists()


@pytest.mark.mainline
async def test_a_run_goes_on_with_the_last_key(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """A block that becomes unusable while a run has a batch in flight does not take the key away from it."""
    await set_up_account()
    async with open_access("default", "a caller") as access:
        await save_in_the_ui(BouncerAccount, poll_seconds_max=0.01)
        assert await access.client.credits() > 0


async def test_reading_a_block_sends_no_event(set_up_account: SetUpAccount) -> None:
    """Each request to Bouncer reads its key; by Prefect's own loading each was an event, 7 kB on the server."""
    await set_up_account()
    AssertingEventsClient.reset()
    EventsWorker.set_client_override(AssertingEventsClient)
    try:
        async with open_access("default", "a caller") as access:
            await access.client.credits()
        await BouncerAccount.aload("default")
        await asyncio.to_thread(send_what_waits)
    finally:
        EventsWorker.set_client_override(None)
    sent = [event.event for client in AssertingEventsClient.all for event in client.events]
    assert [event for event in sent if event.startswith("prefect.block.")] == ["prefect.block.bouncer-account.loaded"]


async def test_a_block_that_was_never_saved_is_none(set_up_account: SetUpAccount) -> None:
    """That is no error: setup makes it."""
    await set_up_account()
    assert await load_saved(BouncerAccount, "nobody") is None
    async with get_client() as client:
        document = await client.read_block_document_by_name("default", "bouncer-account")
        await client.delete_block_document(document.id)
    assert await load_saved(BouncerAccount, "default") is None
