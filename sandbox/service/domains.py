"""Pretended facts about a mail domain; alike for equal seeds and domains."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

__all__ = ["SANDBOX_DOMAIN", "Domain", "DomainKind", "domain_for"]

SANDBOX_DOMAIN = "sandbox.usebouncer.com"
"""The domain whose addresses are free of charge and answer as they are named."""

_GOOGLE_MX = "gmail-smtp-in.l.google.com."
_OUTLOOK_MX = "outlook-com.olc.protection.outlook.com."
_YAHOO_MX = "mta5.am0.yahoodns.net."
_ICLOUD_MX = "mx01.mail.icloud.com."
_GMX_MX = "mx00.emig.gmx.net."
_WELL_KNOWN = {
    "gmail.com": ("google.com", _GOOGLE_MX),
    "googlemail.com": ("google.com", _GOOGLE_MX),
    "outlook.com": ("outlook.com", _OUTLOOK_MX),
    "hotmail.com": ("outlook.com", _OUTLOOK_MX),
    "hotmail.co.uk": ("outlook.com", _OUTLOOK_MX),
    "live.com": ("outlook.com", _OUTLOOK_MX),
    "msn.com": ("outlook.com", _OUTLOOK_MX),
    "yahoo.com": ("yahoo.com", _YAHOO_MX),
    "yahoo.co.uk": ("yahoo.com", _YAHOO_MX),
    "ymail.com": ("yahoo.com", _YAHOO_MX),
    "aol.com": ("yahoo.com", _YAHOO_MX),
    "icloud.com": ("icloud.com", _ICLOUD_MX),
    "me.com": ("icloud.com", _ICLOUD_MX),
    "gmx.de": ("gmx.net", _GMX_MX),
    "gmx.net": ("gmx.net", _GMX_MX),
    "web.de": ("web.de", "mx-ha02.web.de."),
    "orange.fr": ("orange.fr", "smtp-in.orange.fr."),
    "libero.it": ("libero.it", "smtp-in.libero.it."),
    "wp.pl": ("wp.pl", "mx.wp.pl."),
    "proton.me": ("protonmail.ch", "mail.protonmail.ch."),
    "protonmail.com": ("protonmail.ch", "mail.protonmail.ch."),
}
_DISPOSABLE = frozenset(
    {"mailinator.com", "guerrillamail.com", "10minutemail.com", "yopmail.com", "trashmail.com", "temp-mail.org"}
)
_MISSPELT = {
    "gmial.com": "gmail.com",
    "gmai.com": "gmail.com",
    "gmal.com": "gmail.com",
    "gnail.com": "gmail.com",
    "gmail.con": "gmail.com",
    "hotmial.com": "hotmail.com",
    "hotmai.com": "hotmail.com",
    "outlok.com": "outlook.com",
    "yaho.com": "yahoo.com",
    "yahooo.com": "yahoo.com",
    "iclod.com": "icloud.com",
}


class DomainKind(Enum):
    """Behaviour of a domain's mail server."""

    FREE = "free"
    DISPOSABLE = "disposable"
    ACCEPT_ALL = "accept-all"
    PLAIN = "plain"
    NO_DOMAIN = "no domain"
    DNS_ERROR = "dns error"
    SANDBOX = "sandbox"


@dataclass(frozen=True, slots=True)
class Domain:
    """A mail domain as the sandbox sees it."""

    name: str
    kind: DomainKind
    provider: str | None
    dns: dict[str, str] | None
    meant: str | None


def _mx(record: str) -> dict[str, str]:
    return {"type": "MX", "record": record}


def _known() -> Iterator[Domain]:
    yield Domain(SANDBOX_DOMAIN, DomainKind.SANDBOX, None, _mx(f"mx.{SANDBOX_DOMAIN}."), None)
    for name, (provider, record) in _WELL_KNOWN.items():
        yield Domain(name, DomainKind.FREE, provider, _mx(record), None)
    for name in _DISPOSABLE:
        yield Domain(name, DomainKind.DISPOSABLE, None, _mx(f"mail.{name}."), None)
    for name, meant in _MISSPELT.items():
        yield Domain(name, DomainKind.NO_DOMAIN, None, None, meant)


_KNOWN = {domain.name: domain for domain in _known()}
# Of 1,000 other domains, in this order; the rest is plain.
_NO_DOMAIN, _DNS_ERROR, _ACCEPT_ALL = 20, 10, 220


@lru_cache(maxsize=1 << 16)
def domain_for(seed: int, name: str) -> Domain:
    """Looks a domain up.

    Args:
        seed: The seed of the sandbox.
        name: The domain, lower-cased.
    """
    if name in _KNOWN:
        return _KNOWN[name]
    chance = int.from_bytes(hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest())
    draw = chance % 1000
    if draw < _NO_DOMAIN:
        return Domain(name, DomainKind.NO_DOMAIN, None, None, None)
    if draw < _NO_DOMAIN + _DNS_ERROR:
        return Domain(name, DomainKind.DNS_ERROR, None, None, None)
    accepts_all = draw < _NO_DOMAIN + _DNS_ERROR + _ACCEPT_ALL
    hosts = (
        ("google.com", "aspmx.l.google.com."),
        ("outlook.com", f"{name.replace('.', '-')}.mail.protection.outlook.com."),
        (None, f"mx1.{name}."),
    )
    provider, record = hosts[chance // 1000 % len(hosts)]
    kind = DomainKind.ACCEPT_ALL if accepts_all else DomainKind.PLAIN
    return Domain(name, kind, provider, _mx(record), None)
