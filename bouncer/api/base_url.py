"""Destinations to which the API key may travel: over TLS, or within this machine."""

import ipaddress
from urllib.parse import urlsplit, urlunsplit

from bouncer.errors import SettingRefused

__all__ = ["DEFAULT_BASE_URL", "OPENS_NOTHING", "refuse_to_send_in_the_clear", "stays_here", "with_version"]

OPENS_NOTHING = "sandbox-key"
"""The sandbox's key, which is no secret; with it alone a sandbox may be asked over a network without TLS."""

_VERSION = "/v1.1"
DEFAULT_BASE_URL = f"https://api.usebouncer.com{_VERSION}"


def with_version(base_url: str) -> str:
    """Adds the API's version where nothing but a host was given; without it Bouncer answers 404 to everything.

    Raises:
        ValueError: The path is of another version, or of something else; or a password is in it, which everybody would
            see who looks at the block.
    """
    parts = urlsplit(base_url)
    if "@" in parts.netloc:
        raise ValueError("it must hold no user and no password; what opens Bouncer is BOUNCER_API_KEY alone")
    path = parts.path.rstrip("/") or _VERSION
    if not path.endswith(_VERSION) or parts.query or parts.fragment:
        raise ValueError(f"it must end in {_VERSION}, as {DEFAULT_BASE_URL} does")
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def refuse_to_send_in_the_clear(base_url: str, key: str) -> None:
    """Makes sure that nobody on the way can read the key, which travels in a header of every request.

    Args:
        base_url: Where the batch API answers.
        key: The API key.

    Raises:
        SettingRefused: The URL is plain http:// to another machine.
    """
    if key != OPENS_NOTHING and urlsplit(base_url).scheme != "https" and not stays_here(base_url):
        raise SettingRefused(
            "BOUNCER_API_BASE_URL is no https:// address, and the API key could be read on its way; "
            "write https://, http:// is for this machine's own addresses"
        )


def stays_here(base_url: str) -> bool:
    """Tells whether requests to this host stay within this machine."""
    host = urlsplit(base_url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
