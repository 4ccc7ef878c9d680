"""E-mail addresses: which can be sent to Bouncer, in which form, and by which digests equal ones find each other."""

import re
import unicodedata
from hashlib import blake2b
from typing import TYPE_CHECKING

from bouncer.errors import BouncerFlowsError

if TYPE_CHECKING:
    import pandas as pd
    from email_validator import EmailNotValidError

__all__ = [
    "InvalidAddress",
    "address_key",
    "domain_hash",
    "domain_of",
    "normalise",
    "normalise_all",
]

_LONGEST = 254
_LONGEST_REASON = 200
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"(?!..--)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# What is valid beyond doubt, at 1 µs an address where the library takes 25. A label with hyphens in third and fourth
# place may be Punycode, and the names in the middle are reserved (RFC 6761 and others): the library decides.
_CERTAINLY_VALID = re.compile(
    rf"(?=[^@]{{1,64}}@)({_ATOM}(?:\.{_ATOM})*)"
    rf"@((?:{_LABEL}\.)+(?!(?i:arpa|invalid|local|localhost|onion)\Z)[A-Za-z]{{2,63}})"
)


class InvalidAddress(BouncerFlowsError):
    """A text is no address that can be mailed to; the message gives the reason without the text."""


def normalise(address: str) -> str:
    """Gives an address the form in which it is stored and sent to Bouncer.

    White space around it goes, the domain is in lower case and in its ASCII form (IDNA), and the part before the @
    stays as it is (but for Unicode's NFC). Not accepted, because no mailbox provider gives them out: quoted local
    parts, IP addresses as domains, and more than 64 characters before the @. The domains ``test`` and ``example.com``
    are accepted, the other names that are reserved for use outside mail (``localhost``, ``invalid``, …) are not.

    Args:
        address: As a person wrote it.

    Returns:
        The address, at most 254 bytes.

    Raises:
        InvalidAddress: It cannot be mailed to.
    """
    address = address.strip()
    match = _CERTAINLY_VALID.fullmatch(address)
    if match is not None and len(address) <= _LONGEST:
        return f"{match[1]}@{match[2].lower()}"
    return _examine(address)


def _examine(address: str) -> str:
    if not address:
        raise InvalidAddress("There is no address.")
    if "\N{REPLACEMENT CHARACTER}" in address:
        # The library takes it for a letter of some language.
        raise InvalidAddress("A character of it was lost when it was read in the wrong encoding.")
    if len(address) > _LONGEST:
        # The library says so too, but takes its time over a text of megabytes.
        raise InvalidAddress(f"The email address is too long ({len(address) - _LONGEST:,} characters too many).")
    from email_validator import EmailNotValidError, validate_email

    try:
        checked = validate_email(address, strict=True, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise InvalidAddress(_reason(error)) from None
    # Not the library's local part: it changes INFO to info (RFC 2142).
    return f"{unicodedata.normalize('NFC', address.partition('@')[0])}@{checked.ascii_domain}"


def _reason(error: "EmailNotValidError") -> str:
    # In parentheses, IDNA's own words quote the domain; and a character may be none that every column can hold.
    reason = re.sub(r" \((?!\d).*", ".", str(error)).encode("ascii", "backslashreplace").decode()
    # The library lists every character that it does not like.
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}..."


def address_key(normalised: str) -> bytes:
    """Gives the 16-byte digest that addresses share if they differ in nothing but case.

    Providers that tell Anna@ from anna@ are as good as extinct; paying twice for one mailbox is not.
    """
    folded = normalised.lower() if normalised.isascii() else "".join(map(_fold, normalised))
    return blake2b(folded.encode(), digest_size=16).digest()


def _fold(character: str) -> str:
    # Unicode's simple folding, a letter for a letter: the full one makes ss of ß, and so one mailbox of two.
    for folded in (character.casefold(), character.lower()):
        if len(folded) == 1:
            return folded
    return character


def domain_of(normalised: str) -> str:
    """Gives what stands after the @."""
    return normalised.rpartition("@")[2]


def domain_hash(domain: str) -> str:
    """Gives the digest by which the queue groups contacts of one domain: 16 hexadecimal digits.

    Every contact's is in an index: short is fast, and a collision would only mix two domains up in a statistic.
    """
    return blake2b(domain.encode(), digest_size=8).hexdigest()


def normalise_all(addresses: "pd.Series[str]") -> "pd.DataFrame":
    """Normalises many addresses.

    Args:
        addresses: As people wrote them; missing values count as no address.

    Returns:
        A row for each, with the same index: ``address`` (normalised), ``key`` (16 bytes), ``domain``, and for those
        that are no addresses ``reason`` instead.
    """
    import pandas as pd

    rows = [_normalise_one(address) for address in addresses]
    return pd.DataFrame(rows, columns=["address", "key", "domain", "reason"], index=addresses.index, dtype=object)


def _normalise_one(address: object) -> tuple[str | None, bytes | None, str | None, str | None]:
    try:
        normalised = normalise(address if isinstance(address, str) else "")
    except InvalidAddress as error:
        return None, None, None, str(error)
    return normalised, address_key(normalised), domain_of(normalised), None
