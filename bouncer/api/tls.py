"""The certificates that a server is checked against: read once a process, which takes longer than most requests."""

import os
import ssl
from functools import cache
from urllib.parse import urlsplit

import httpx

__all__ = ["tls_of"]


def tls_of(url: str) -> ssl.SSLContext:
    """Gives what connections to a server are checked by; where it is spoken to in the clear, it trusts nobody.

    Args:
        url: The server's.
    """
    if urlsplit(url).scheme != "https":
        return _of_nobody()
    return _of_authorities(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _of_nobody() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@cache
def _of_authorities(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    # httpx reads both variables by itself.
    return httpx.create_ssl_context()
