"""The environment variables, under the plan's names; read once, by the command line, and saved into blocks."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from bouncer.api.base_url import with_version
from bouncer.errors import SettingRefused
from bouncer.installation import DEFAULT_NAME, NAME_PATTERN
from bouncer.storage.tables import Layer

__all__ = ["DEFAULT_BASE_URL", "Settings", "read_settings", "variable_of", "without_secrets"]

DEFAULT_BASE_URL = "https://api.usebouncer.com/v1.1"

_LOOPBACK = re.compile(r"127(\.\d{1,3}){3}|::1|localhost")
# What basic authentication can carry everywhere; others come out differently in one program than in another.
_PASSWORD = re.compile(r"[!-~]{8,200}")

# Files are named from where the user stands; the runs, which read them too, stand elsewhere.
_RELATIVE_FILE = re.compile(
    r"(?P<before>^sqlite(?:\+\w+)?:///|[?&]ssl_(?:ca|cert|key)=)(?P<file>(?![/:?]|%2F|file:)[^?&]+)"
)


class Settings(BaseSettings):
    """Settings from outside; every field is an environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(
        default=None,
        description="The contacts database: mysql://USER:PASSWORD@HOST/NAME, mariadb://… or sqlite:////PATH.",
    )
    bouncer_api_key: SecretStr | None = Field(default=None, description="The API key of your Bouncer account.")
    bouncer_api_base_url: str = Field(
        default=DEFAULT_BASE_URL,
        pattern=r"^https?://\S+$",
        description="Where the batch API answers; /v1.1 at its end.",
    )
    max_concurrent_batches: int = Field(default=15, ge=1, le=1000, description="The most batches in flight.")
    batch_size: int = Field(default=10_000, ge=1, le=100_000, description="The most addresses in one batch.")
    rate_limit_per_minute: int = Field(
        default=200,
        ge=2,
        le=100_000,
        description="The most requests in any 60 seconds; never passed.",
    )
    poll_seconds_min: float = Field(default=10, gt=0, description="The shortest time between two status requests.")
    poll_seconds_max: float = Field(
        default=30, gt=0, description="The longest time between two status requests near the end of a batch."
    )
    batch_deadline_seconds: float = Field(
        default=7200, gt=0, description="Seconds without progress after which a batch is finished early."
    )
    result_max_age_days: float = Field(
        default=90, ge=0, description="Days for which a known verdict is used again at no cost; 0 for never."
    )
    ambiguous_upload: Literal["resubmit", "hold"] = Field(
        default="resubmit", description="What to do when the answer to an upload was lost."
    )
    max_credits_per_run: int = Field(
        default=0, ge=0, description="The most credits that one run of ingest may commit; 0 for any number."
    )
    realtime_max_addresses: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Requests this small skip batching: one API call per address; 0 for never.",
    )
    delete_at_bouncer: Literal["never", "after_load"] = Field(
        default="never",
        description="after_load: Bouncer is asked to delete the addresses and results of each loaded batch.",
    )
    realtime_timeout_seconds: int = Field(
        default=10, ge=1, le=30, description="The most seconds that Bouncer may take for an address in real time."
    )
    realtime_per_hour: int = Field(
        default=1000, ge=1, le=1_000_000, description="The most addresses in real time in any hour."
    )
    queue_ahead_minutes: float = Field(
        default=15,
        ge=0,
        description="Minutes that a new upload may have to wait in Bouncer's queue behind our own; 0 fills all slots.",
    )
    callback_url: str | None = Field(
        default=None,
        pattern=r"^(https?://\S+|off)$",
        description="Where Bouncer can reach the receiver of callbacks from outside; off for none.",
    )
    callback_host: str = Field(default="127.0.0.1", description="The address that the receiver listens on.")
    callback_port: int = Field(default=0, ge=0, le=65_535, description="The port of the receiver; 0 for none.")
    callback_wait_seconds: float = Field(
        default=7200, ge=0, description="The most seconds that a lost upload waits for its callback."
    )
    alert_block: str | None = Field(
        default=None,
        pattern=r"^([a-z0-9-]+/[a-z0-9-]+|off)$",
        description="The notification block that takes alerts to people, such as slack-webhook/ops; off for none.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="How the runs' logs are written on standard error: for people, or as JSON."
    )
    metrics_host: str = Field(default="127.0.0.1", description="Where the Prometheus endpoint listens.")
    metrics_port: int = Field(
        default=0, ge=0, le=65_535, description="The port of the Prometheus endpoint; 0 for none with serve."
    )
    second_chances: int = Field(
        default=2, ge=0, le=10, description="How often a contact without a clear verdict is retried; 0 for never."
    )
    second_chance_hours: float = Field(
        default=24,
        gt=0,
        le=8760,
        description="Hours until a contact's next second chance, where Bouncer names no time.",
    )
    deep_bouncer_api_key: SecretStr | None = Field(
        default=None, description="The key of a second account with deep catch-all verification."
    )
    bouncer_flows_name: str = Field(
        default=DEFAULT_NAME,
        pattern=f"^{NAME_PATTERN}$",
        description="The installation's name, which everything of it on the Prefect server carries.",
    )
    work_pool: str | None = Field(
        default=None,
        description="The work pool whose workers run the flows; one with the installation's name if not set.",
    )
    bouncer_flows_home: Path = Field(
        default=Path("~/.bouncer-flows"), description="Where the embedded database and Prefect server keep their files."
    )
    server_host: str = Field(
        default="127.0.0.1",
        pattern=r"^[A-Za-z0-9.:-]+$",
        description="Where the local Prefect server listens; any address but a loopback one needs SERVER_PASSWORD.",
    )
    server_password: SecretStr | None = Field(
        default=None, description="The password of the local Prefect server, whose user is admin."
    )
    server_public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/@]+$",
        description="The local Prefect server's address as browsers see it, where a proxy stands before it.",
    )
    server_proxies: str | None = Field(
        default=None,
        pattern=r"^[0-9A-Fa-f.:/, ]*$",
        description="The proxies before the local Prefect server whose X-Forwarded-For is believed, with commas.",
    )

    @field_validator("bouncer_api_base_url")
    @classmethod
    def _has_a_version(cls, url: str) -> str:
        return with_version(url)

    @field_validator("bouncer_flows_home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        try:
            return home.expanduser().absolute()
        except RuntimeError:
            raise ValueError("it begins with the home of a user who has none") from None

    @field_validator("database_url")
    @classmethod
    def _names_whole_paths(cls, url: SecretStr | None) -> SecretStr | None:
        return None if url is None else SecretStr(_RELATIVE_FILE.sub(_absolute, url.get_secret_value()))

    @field_validator("server_password")
    @classmethod
    def _can_be_sent(cls, password: SecretStr | None) -> SecretStr | None:
        if password is not None and not _PASSWORD.fullmatch(password.get_secret_value()):
            raise ValueError("a password has 8 to 200 characters of ASCII and no spaces")
        return password

    @model_validator(mode="after")
    def _not_open_to_others(self) -> Self:
        if self.server_password is None and not _LOOPBACK.fullmatch(self.server_host):
            raise ValueError("SERVER_HOST opens the Prefect server, which hands out keys; set SERVER_PASSWORD too")
        if self.server_password is None and self.server_public_url is not None:
            raise ValueError("SERVER_PUBLIC_URL opens the Prefect server to others; set SERVER_PASSWORD too")
        return self

    @property
    def url(self) -> str:
        """The URL of the contacts database, a file with its whole path; a file of our own where none was set."""
        if self.database_url is not None:
            from bouncer.storage.urls import with_whole_path  # noqa: PLC0415  # help needs no database's libraries

            return with_whole_path(self.database_url.get_secret_value())
        return f"sqlite:///{self.bouncer_flows_home / 'contacts.db'}"

    def account_values(self) -> dict[str, Any]:
        """The fields of the account block that were set from outside."""
        set_here = self.model_dump(include=set(_ACCOUNT_FIELDS) & self.model_fields_set)
        values = {_ACCOUNT_FIELDS[name]: value for name, value in set_here.items()}
        if self.bouncer_api_key is not None:
            values["api_key"] = self.bouncer_api_key
        if values.get("callback_url") == "off":
            values["callback_url"] = None
        return values

    def deep_account_values(self) -> dict[str, Any]:
        """The fields of the deep account's block that were set from outside; all but the key are shared."""
        return {**self.account_values(), "api_key": self.deep_bouncer_api_key, "layer": Layer.DEEP}


_ACCOUNT_FIELDS = {
    "bouncer_api_base_url": "base_url",
    "max_concurrent_batches": "max_concurrent_batches",
    "batch_size": "batch_size",
    "rate_limit_per_minute": "rate_limit_per_minute",
    "poll_seconds_min": "poll_seconds_min",
    "poll_seconds_max": "poll_seconds_max",
    "queue_ahead_minutes": "queue_ahead_minutes",
    "batch_deadline_seconds": "batch_deadline_seconds",
    "result_max_age_days": "result_max_age_days",
    "ambiguous_upload": "ambiguous_upload",
    "max_credits_per_run": "max_credits_per_run",
    "second_chances": "second_chances",
    "second_chance_hours": "second_chance_hours",
    "realtime_max_addresses": "realtime_max_addresses",
    "delete_at_bouncer": "delete_at_bouncer",
    "realtime_timeout_seconds": "realtime_timeout_seconds",
    "realtime_per_hour": "realtime_per_hour",
    "callback_url": "callback_url",
    "callback_wait_seconds": "callback_wait_seconds",
}


def variable_of(field: str) -> str:
    """The environment variable that sets a field of the account block."""
    return next(name for name, of_block in _ACCOUNT_FIELDS.items() if of_block == field).upper()


def _absolute(found: re.Match[str]) -> str:
    folder = str(Path.cwd())
    # The parameters of a URL are quoted, the file of SQLite is not.
    return f"{found['before']}{folder if found['before'].startswith('sqlite') else quote(folder)}/{found['file']}"


def read_settings() -> Settings:
    """Reads the environment.

    Raises:
        SettingRefused: A variable cannot be used; the message names it and never shows its value.
    """
    try:
        return Settings()
    except ValidationError as error:
        # Without `from`: pydantic's text quotes the value, which may be a key.
        first = error.errors()[0]
        said = str(first["msg"]).removeprefix("Value error, ")
        if not first["loc"]:
            raise SettingRefused(said) from None
        name = str(first["loc"][0])
        if first["type"] == "string_pattern_mismatch":
            said = "it has the wrong format"
        meaning = str(Settings.model_fields[name].description).rstrip(".")
        raise SettingRefused(f"{name.upper()}: {said}; change it, or unset it. It means: {meaning}") from None


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for processes that need no key and no password, such as the Prefect server's."""
    secrets = {name.upper() for name, field in Settings.model_fields.items() if field.annotation == SecretStr | None}
    return {name: value for name, value in environment.items() if name.upper() not in secrets}
