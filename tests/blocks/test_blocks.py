"""The blocks: Prefect's own standard, secrets that stay secret, and settings that are refused early."""

import logging
from typing import cast

import httpx
import pytest
from prefect.blocks.core import Block
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite
from pydantic import SecretStr, ValidationError

from blocks.bouncer_account import BouncerAccount
from blocks.bouncer_prices import BouncerPrices
from blocks.contacts_database import ContactsDatabase
from blocks.pictures import picture
from bouncer.errors import SettingRefused
from deployments.server.local_server import LocalServer
from tests.prefect_server import forget_setup

pytestmark = pytest.mark.mainline

_KEY = "marked-key-5d10"
_PASSWORD = "marked-password-77ab"
_URL = f"mysql://me:{_PASSWORD}@127.0.0.1/contacts"


@pytest.mark.parametrize("block", [BouncerAccount, BouncerPrices, ContactsDatabase])
class TestPrefectsStandard(BlockStandardTestSuite):
    """What Prefect asks of blocks that others use."""

    @pytest.fixture
    def block(self) -> type[Block]:
        """The parameter takes its place."""
        raise AssertionError("given by the parameters")

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        """A logo is named; Prefect's own test downloads it, and it may have been chosen before there was a server."""
        assert str(block._logo_url).endswith(".png")


def test_a_logo_is_shown_without_the_internet(prefect_server: LocalServer) -> None:
    """A browser that reaches the Prefect server alone showed no picture."""
    logo = str(picture("a-picture.png"))
    assert logo.startswith(prefect_server.ui_url)
    answer = httpx.get(logo, trust_env=False)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    with temporary_settings({PREFECT_API_URL: "https://api.prefect.cloud/api/accounts/a/workspaces/w"}):
        assert str(picture("a-picture.png")).startswith("https://cdn.sanity.io/")


@pytest.mark.parametrize(
    ("block", "secret"),
    [(BouncerAccount(api_key=SecretStr(_KEY)), _KEY), (ContactsDatabase(url=SecretStr(_URL)), _PASSWORD)],
)
async def test_a_secret_is_kept_and_never_shown(
    prefect_server: LocalServer, block: Block, secret: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A block comes back from the server as it was saved; its text, its JSON and the logs do not hold its secret."""
    caplog.set_level(logging.DEBUG)
    await block.asave("default", overwrite=True)
    loaded = cast("Block", await type(block).aload("default"))
    assert loaded.model_dump() == block.model_dump()
    logging.getLogger("bouncer").warning("a block: %s %r", loaded, loaded)
    for text in (str(loaded), repr(loaded), loaded.model_dump_json(), caplog.text):
        assert secret not in text
    await forget_setup()


def test_one_engine_serves_all_runs_of_a_process() -> None:
    """Runs share connections; each has not a pool of its own."""
    url = SecretStr("sqlite:////nowhere/contacts.db")
    assert ContactsDatabase(url=url).get_engine() is ContactsDatabase(url=url).get_engine()


def test_a_url_that_cannot_be_used_is_refused_without_showing_it() -> None:
    """The message names the setting, not the password in it."""
    with pytest.raises(SettingRefused) as refusal:
        ContactsDatabase(url=SecretStr(f"postgresql://me:{_PASSWORD}@host/name")).get_engine()
    assert str(refusal.value) == "DATABASE_URL names postgresql; bouncer-flows works with mysql, mariadb and sqlite"


@pytest.mark.parametrize(
    "field",
    [
        {"max_concurrent_batches": 0},
        {"batch_size": 100_001},
        {"rate_limit_per_minute": 1},
        {"poll_seconds_min": 0},
        {"poll_seconds_min": 31},
        {"base_url": "api.usebouncer.com"},
        {"ambiguous_upload": "perhaps"},
        {"result_max_age_days": -1},
    ],
)
def test_a_value_that_makes_no_sense_is_refused(field: dict[str, object]) -> None:
    """What a person mistypes in the UI is told there, not found out in a run."""
    with pytest.raises(ValidationError):
        BouncerAccount.model_validate({"api_key": "key", **field})
