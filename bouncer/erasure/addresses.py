"""The address of a person, and how it is found again in texts, whatever its case and form."""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, func

from bouncer.addresses.normalisation import InvalidAddress, address_key, normalise
from bouncer.errors import InputRefused

__all__ = ["ERASED", "Wanted"]

ERASED = "[address]"
"""Stands in texts where an address was."""

_LIKE_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+")
_ASCII = re.compile(r"[\x21-\x7e]+")
_ENDING = re.compile(r"[\x21-\x7e]+$")


@dataclass(frozen=True)
class Wanted:
    """The address that is looked for.

    Attributes:
        key: The digest that it shares with equal addresses; None where it cannot be mailed to.
    """

    key: bytes | None
    _address: re.Pattern[str] = field(repr=False)
    _needle: str = field(repr=False)

    @classmethod
    def of(cls, given: str) -> "Wanted":
        """Reads an address; one that no mail could reach will do, since lists have such ones too.

        Raises:
            InputRefused: It is none.
        """
        given = given.strip()
        if not _LIKE_ADDRESS.fullmatch(given):
            raise InputRefused("--email is no e-mail address; write it as NAME@DOMAIN")
        forms, key = {given}, None
        with suppress(InvalidAddress):
            normalised = normalise(given)
            forms.add(normalised)
            key = address_key(normalised)
        # Not within a longer one: ann@example.org is no part of joann@example.org, nor of ann@example.org.uk.
        either = "|".join(map(re.escape, sorted(forms)))
        pattern = re.compile(rf"(?<![\w.+-])(?:{either})(?![\w-]|\.\w)", re.IGNORECASE)
        # Lower case means the same to every database in ASCII alone. The @ keeps short ones from being in every text.
        local = given.partition("@")[0]
        ending = _ENDING.search(local)
        needle = f"{ending[0]}@" if ending else max(_ASCII.findall(local), key=len, default="@")
        return cls(key, pattern, needle.lower())

    def maybe_in(self, column: Any) -> ColumnElement[bool]:
        """The condition for a text that may hold it; ``is_in`` decides, since databases differ in what is equal."""
        return func.lower(column).contains(self._needle, autoescape=True)

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
