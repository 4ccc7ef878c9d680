"""The environment variables, under the plan's names; read once, by the command line, and saved into blocks."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from bouncer.api.account_settings import AccountSettings
from bouncer.errors import SettingRefused
from bouncer.installation import DEFAULT_NAME, NAME_PATTERN
from bouncer.storage.tables import Layer

__all__ = ["Settings", "read_settings", "variable_of", "without_secrets"]

# The others have the names of their fields.
_NAMES = {"api_key": "bouncer_api_key", "base_url": "bouncer_api_base_url"}

_LOOPBACK = re.compile(r"127(\.\d{1,3}){3}|::1|localhost")
# What basic authentication can carry everywhere; others come out differently in one program than in another.
_PASSWORD = re.compile(r"[!-~]{8,200}")

# Files are named from where the user stands; the runs, which read them too, stand elsewhere.
_RELATIVE_FILE = re.compile(
    r"(?P<before>^sqlite(?:\+\w+)?:///|[?&]ssl_(?:ca|cert|key)=)(?P<file>(?![/:?]|%2F|file:)[^?&]+)"
)


class Settings(BaseSettings, AccountSettings):
    """Settings from outside; every field is an environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, extra="ignore", frozen=True, alias_generator=lambda name: _NAMES.get(name, name)
    )

    database_url: SecretStr | None = Field(
        default=None,
        description="The contacts database: mysql://USER:PASSWORD@HOST/NAME, mariadb://… or sqlite:////PATH.",
    )
    callback_host: str = Field(default="127.0.0.1", description="The address that the receiver listens on.")
    callback_port: int = Field(default=0, ge=0, le=65_535, description="The port of the receiver; 0 for none.")
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
    deep_bouncer_api_key: SecretStr | None = Field(
        default=None, description="The key of a second account with deep catch-all verification."
    )
    bouncer_flows_name: str = Field(
        default=DEFAULT_NAME,
        pattern=f"^{NAME_PATTERN}$",
        description="The installation's name, which all of it on the Prefect server carries: small letters and digits.",
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

    @field_validator("callback_url", mode="before")
    @classmethod
    def _off_for_none(cls, url: str | None) -> str | None:
        return None if url == "off" else url

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
        values = self.model_dump(include=AccountSettings.model_fields.keys() & self.model_fields_set)
        return {name: value for name, value in values.items() if name != "api_key" or value is not None}

    def deep_account_values(self) -> dict[str, Any]:
        """The fields of the deep account's block that were set from outside; all but the key are shared."""
        return {**self.account_values(), "api_key": self.deep_bouncer_api_key, "layer": Layer.DEEP}


def variable_of(field: str) -> str:
    """The environment variable that sets a field."""
    return _NAMES.get(field, field).upper()


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
        name = str(first["loc"][0]).upper()
        if first["type"] == "string_pattern_mismatch":
            said = "it has the wrong format"
        fields = Settings.model_fields.items()
        meaning = next(str(field.description) for field_name, field in fields if variable_of(field_name) == name)
        raise SettingRefused(f"{name}: {said}; change it, or unset it. It means: {meaning.rstrip('.')}") from None


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for processes that need no key and no password, such as the Prefect server's."""
    secrets = {
        variable_of(name) for name, field in Settings.model_fields.items() if field.annotation == SecretStr | None
    }
    return {name: value for name, value in environment.items() if name.upper() not in secrets}
