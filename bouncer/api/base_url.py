"""Destinations to which the API key may travel: over TLS, or within this machine."""

import ipaddress
from urllib.parse import urlsplit

from bouncer.errors import SettingRefused

__all__ = ["OPENS_NOTHING", "refuse_to_send_in_the_clear", "stays_here"]

OPENS_NOTHING = "sandbox-key"
"""The sandbox's key, which is no secret; with it alone a sandbox may be asked over a network without TLS."""


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
