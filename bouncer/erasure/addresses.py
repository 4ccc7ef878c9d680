"""The address of a person, and how it is found again in texts, whatever its case and form."""

import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from sqlalchemy import ColumnElement, func, or_

from bouncer.addresses.normalisation import InvalidAddress, address_key, domain_of, normalise
from bouncer.errors import InputRefused
from bouncer.files.address_cells import take_address

__all__ = ["ERASED", "Wanted"]

ERASED = "[address]"
"""Stands in texts where an address was."""

_LIKE_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+")
_ASCII = re.compile(r"[\x21-\x7e]+")
_ENDING = re.compile(r"[\x21-\x7e]+$")
# Behind an address, a dot and letters make another domain, but for those of files that are named for a person.
_BEHIND = r"(?![^\W_]|-|\.(?!(?:csv|tsv|txt|json|xlsx?|gz|verified|rejected)\b)\w)"


@dataclass(frozen=True)
class Wanted:
    """The address that is looked for.

    Attributes:
        key: The digest that it shares with equal addresses; None where it cannot be mailed to.
    """

    key: bytes | None
    _address: re.Pattern[str] = field(repr=False)
    _needles: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, given: str) -> "Wanted":
        """Reads an address; one that no mail could reach will do, since lists have such ones too.

        Raises:
            InputRefused: It is none.
        """
        # As people paste it, with brackets, mailto: or a dot behind, which an import takes off too. Several are none.
        with suppress(InvalidAddress):
            given, _ = take_address(given)
        if not _LIKE_ADDRESS.fullmatch(given):
            raise InputRefused("--email is no e-mail address; write it as NAME@DOMAIN")
        forms, key = {given}, None
        with suppress(InvalidAddress):
            normalised = normalise(given)
            forms |= {normalised, _in_unicode(normalised)}
            key = address_key(normalised)
        # As some systems decompose letters, and as URLs have it.
        forms |= {unicodedata.normalize(form, one) for one in forms for form in ("NFC", "NFD")}
        forms |= {quote(one) for one in forms}
        # Not within a longer one: ann@example.org is no part of joann@example.org, nor of ann@example.org.uk.
        either = "|".join(map(re.escape, sorted(forms)))
        pattern = re.compile(rf"(?<![\w.+-])(?:{either}){_BEHIND}", re.IGNORECASE)
        # Lower case means the same to every database in ASCII alone. The @ keeps short ones from being in every text.
        local = given.partition("@")[0]
        ending = _ENDING.search(local)
        plain = ending[0] if ending else max(_ASCII.findall(local), key=len, default="")
        needles = [f"{plain}@", f"{quote(plain)}%40"] if ending else [plain or "@"]
        return cls(key, pattern, tuple(needle.lower() for needle in needles))

    def maybe_in(self, column: Any) -> ColumnElement[bool]:
        """The condition for a text that may hold it; ``is_in`` decides, since databases differ in what is equal."""
        return or_(*(func.lower(column).contains(needle, autoescape=True) for needle in self._needles))

    def is_in(self, text: str | None) -> bool:
        """Tells whether a text holds the address."""
        if not text:
            return False
        if self._address.search(text):
            return True
        with suppress(InvalidAddress):
            return self.key is not None and address_key(normalise(text)) == self.key
        return False

    def without(self, text: str) -> str:
        """Takes the address out of a text."""
        return self._address.sub(ERASED, text)


def _in_unicode(normalised: str) -> str:
    from email_validator import validate_email  # noqa: PLC0415  # it takes a tenth of a second, for this command alone

    domain = domain_of(normalised)
    checked = validate_email(f"x@{domain}", check_deliverability=False, test_environment=True)
    return f"{normalised.removesuffix(domain)}{checked.domain}"
