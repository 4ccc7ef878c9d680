"""Ways of Prefect that need the workarounds of docs/decisions.md; an upgrade that changes one fails here."""

import inspect
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import BlockTypeCreate
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.settings import PREFECT_API_SSL_CERT_FILE, PREFECT_API_URL, temporary_settings
from prefect.settings.models.server.api import ServerAPISettings
from prefect.settings.models.server.concurrency import ServerConcurrencySettings
from pydantic import BaseModel, ValidationError


@pytest.mark.parametrize(
    ("settings", "name", "default"),
    [
        (ServerConcurrencySettings, "lease_storage", "prefect.server.concurrency.lease_storage.memory"),
        (ServerConcurrencySettings, "maximum_concurrency_slot_wait_seconds", 30),
        (ServerAPISettings, "cors_allowed_origins", "*"),
    ],
)
def test_a_server_by_default_still_forgets_leases_and_lets_every_page_read(
    settings: type[BaseModel], name: str, default: object
) -> None:
    """The local server is started with other settings than these, and setup warns of servers that have them."""
    assert settings.model_fields[name].default == default


def test_transactions_on_sqlite_still_begin_deferred() -> None:
    """One that reads first fails at once where another has written meanwhile; ours begin immediately."""
    begun = inspect.signature(AioSqliteConfiguration.begin_transaction).parameters
    assert begun["with_for_update"].default is False


def test_a_logo_still_has_to_come_from_a_web_server() -> None:
    """A picture within the block type itself would need no internet, and Prefect's client refuses it."""
    with pytest.raises(ValidationError, match="URL scheme should be 'http' or 'https'"):
        BlockTypeCreate(name="Ours", slug="ours", logo_url="data:image/svg+xml;base64,PHN2Zy8+")


def test_a_client_still_reads_authorities_for_a_server_that_is_spoken_to_in_the_clear(tmp_path: Path) -> None:
    """Nine clients of a run read all authorities for nothing: half a second of a slow machine. Ours read one."""
    missing = {PREFECT_API_URL: "http://127.0.0.1:4200/api", PREFECT_API_SSL_CERT_FILE: str(tmp_path / "missing.pem")}
    with temporary_settings(missing), pytest.raises(FileNotFoundError):
        get_client()
