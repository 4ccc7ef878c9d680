"""Encrypted connections to MariaDB and MySQL: asked for by the database's URL, and verified wherever they are."""

import ssl
from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL

from bouncer.errors import SettingRefused

__all__ = ["tls_arguments", "without_tls_parameters"]

_FILES = ("ssl_ca", "ssl_cert", "ssl_key")
_SWITCHES = ("ssl", "ssl_mode", "ssl_verify_cert", "ssl_verify_identity", "ssl_check_hostname")
_ON = frozenset({"true", "1", "yes", "on", "required", "verify_ca", "verify_identity"})
_OFF = frozenset({"false", "0", "no", "off", "disabled"})
_ANY_NAME = "verify_ca"


def without_tls_parameters(url: URL) -> URL:
    """The URL for the driver, which would verify less than is wanted."""
    return url.difference_update_query([*_FILES, *_SWITCHES])


def tls_arguments(url: URL, authority: str | None = None) -> dict[str, Any]:
    """Returns the driver's TLS arguments: a certificate is always verified, its name unless the URL asks not to.

    Args:
        url: ``ssl=true`` asks for TLS, ``ssl_ca=FILE`` names the certificate of an authority that the system does not
            know, ``ssl_cert=FILE`` and ``ssl_key=FILE`` show who the client is. ``ssl_mode`` takes MySQL's words, of
            which ``VERIFY_CA`` takes a certificate for any name, and ``DISABLED``, like ``ssl=false``, is without TLS.
        authority: Ask for TLS whatever the URL says, and trust the authority of this certificate (PEM); the system's
            authorities where it is an empty text.

    Returns:
        Arguments of the driver. Where nobody said anything, there are none: it then encrypts where the server can.

    Raises:
        SettingRefused: A parameter would switch verification off, or a file cannot be used.
    """
    said = {name: value for name, value in url.query.items() if isinstance(value, str)}
    switches = {name: _switch(name, said[name]) for name in _SWITCHES if name in said}
    files = {name: said[name] for name in _FILES if name in said}
    if authority is None and not files and not any(switches.values()):
        return {"ssl_disabled": True} if switches else {}
    if not all(switches.values()):
        off = next(name for name, on in switches.items() if not on)
        raise SettingRefused(f"DATABASE_URL: {off} switches off what the other TLS settings ask for; leave it out")
    context = _context(files, authority)
    if said.get("ssl_mode", "").lower() == _ANY_NAME:
        if {"ssl_verify_identity", "ssl_check_hostname"} & switches.keys():
            raise SettingRefused("DATABASE_URL: ssl_mode=VERIFY_CA checks no name, and another parameter asks for it")
        context.check_hostname = False
    return {"ssl": context}


def _switch(name: str, value: str) -> bool:
    if value.lower() in _ON:
        return True
    if value.lower() in _OFF and name in {"ssl", "ssl_mode"}:
        return False
    raise SettingRefused(f"DATABASE_URL: {name} can be true or be left out; certificates are always verified")


def _context(files: Mapping[str, str], authority: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=files.get("ssl_ca"), cadata=authority or None)
        # On by default from Python 3.13: the certificates that MySQL makes by itself lack an extension that it wants.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if "ssl_cert" in files:
            context.load_cert_chain(files["ssl_cert"], files.get("ssl_key"))
    except (OSError, ValueError) as error:
        # An SSLError is an OSError.
        raise SettingRefused(
            f"a certificate or key for the database's TLS cannot be used ({type(error).__name__}); "
            f"check {', '.join(files) or 'the CA certificate in block contacts-database'}"
        ) from None
    return context
