"""Entrance to a local Prefect server: its addresses, its users, and the settings for both."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from deployments.settings import Settings

__all__ = ["ALLOWED_HOSTS", "USER", "Entrance", "server_environment"]

USER = "admin"
"""The one user of a local server that has a password."""

ALLOWED_HOSTS = "BOUNCER_FLOWS_SERVER_HOSTS"
"""The names that a server without a password answers to, for ``deployments.server.prefect_program``."""


@dataclass(frozen=True)
class Entrance:
    """Entrance to a local server: its addresses and its users.

    Attributes:
        host: Where it listens.
        password: What its user has to give; None for a server that asks nobody.
        public_url: Its address as browsers see it, where a proxy stands before it.
        proxies: The proxies that are believed about who calls, with commas.
    """

    host: str = "127.0.0.1"
    password: SecretStr | None = field(default=None, repr=False)
    public_url: str | None = None
    proxies: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "Entrance":
        """The entrance that the environment asks for."""
        return cls(
            settings.server_host, settings.server_password, settings.server_public_url, settings.server_proxies or ""
        )

    @property
    def auth_string(self) -> str | None:
        """User and password as Prefect wants them."""
        return None if self.password is None else f"{USER}:{self.password.get_secret_value()}"

    @property
    def reach(self) -> str:
        """The host by which this machine reaches it."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  # names, not a binding

    def origin(self, port: int) -> str:
        """Scheme, host and port by which this machine reaches it."""
        return f"http://[{self.reach}]:{port}" if ":" in self.reach else f"http://{self.reach}:{port}"

    def ui_url(self, port: int) -> str:
        """Address of the UI for browsers."""
        return self.public_url or self.origin(port)

    def hosts(self) -> list[str]:
        """The names by which browsers may ask for it."""
        public = urlsplit(self.public_url or "").hostname
        return ["127.0.0.1", "localhost", "[::1]", self.host, *([public] if public else [])]


def server_environment(home: Path, port: int, entrance: Entrance | None = None) -> Mapping[str, str]:
    """The settings of a Prefect server that this project can rely on.

    Args:
        home: The folder of its database and leases.
        port: Where it listens.
        entrance: How it is to be reached.
    """
    entrance = entrance or Entrance()
    ui = entrance.ui_url(port)
    if entrance.auth_string is None:
        guard = {ALLOWED_HOSTS: ",".join(entrance.hosts())}
    else:
        guard = {"PREFECT_SERVER_API_AUTH_STRING": entrance.auth_string}
    return {
        **guard,
        "PREFECT_HOME": str(home / "prefect"),
        # uvicorn's: by default every program of this machine may say who calls, and so try any number of passwords.
        "FORWARDED_ALLOW_IPS": entrance.proxies,
        "PREFECT_API_URL": "",
        "PREFECT_UI_API_URL": f"{ui}/api",
        # The default lets every web page that somebody has open read the blocks, and with them the keys.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(
            {ui: 0, entrance.origin(port): 0, f"http://localhost:{port}": 0}
        ),
        # The default keeps leases in memory: a kill -9 of the server would leak its slots for ever.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # A run that finds no slot looks again after so long, instead of half a minute in which a freed slot would idle.
        "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "5",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
