"""Finds the column of a CSV file that holds the e-mail addresses."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bouncer.errors import InputRefused
from bouncer.safe_text import clean_message

__all__ = ["AddressColumn", "find_column", "looks_like_address"]

_ADDRESS = re.compile(r"[^\s@,;|\"<>]+@[^\s@,;|\"<>]+\.[^\s@,;|\"<>]+")
# Headers without case, spaces and punctuation; where a file has several of them, the first here is taken.
_HEADERS = (
    "email",
    "emailaddress",
    "emailadresse",
    "mail",
    "mailaddress",
    "mailadresse",
    "emailaddr",
    "emails",
    "emailaddresses",
    "emailid",
    "email1",
    "primaryemail",
    "workemail",
    "businessemail",
    "contactemail",
    "customeremail",
    "useremail",
    "courriel",
    "adresseemail",
    "adressemail",
    "correo",
    "correoelectronico",
    "correoelectrónico",
    "indirizzoemail",
)
_MOST_SHOWN = 20


@dataclass(frozen=True)
class AddressColumn:
    """Column with the addresses.

    Attributes:
        index: Counted from 0.
        name: The column's header, or ``column 1`` and so on where the file has none.
        header: Whether the first record is a header.
    """

    index: int
    name: str
    header: bool


def looks_like_address(text: str) -> bool:
    """Tells whether a text is shaped like an address, valid or not."""
    return _ADDRESS.fullmatch(text.strip()) is not None


def find_column(file_name: str, records: Sequence[Sequence[str]], wanted: str | None = None) -> AddressColumn:
    """Finds the column of addresses by its header, else by what is in it.

    Args:
        file_name: For the message.
        records: The first records of the file, the header included; at least one.
        wanted: The column's header as a person gave it, or its number from 1.

    Returns:
        The column.

    Raises:
        InputRefused: There is no such column, or several that it could be.
    """
    first = [cell.strip() for cell in records[0]]
    header = not any(looks_like_address(cell) for cell in first)
    width = max(len(record) for record in records)
    names = [first[i] if header and i < len(first) and first[i] else f"column {i + 1}" for i in range(width)]
    if wanted is not None:
        index = _named(names, wanted)
        if index is None:
            raise InputRefused(
                f"{file_name} has no column {wanted!r}; its columns, of which --column takes one, are: {_listed(names)}"
            )
        return AddressColumn(index, names[index], header)

    rows = records[1:] if header else records
    by_content = [i for i in range(width) if _holds_addresses([row[i] for row in rows if i < len(row)])]
    by_header = sorted((i for i in range(width) if _rank(names[i]) is not None), key=lambda i: (_rank(names[i]), i))
    for index in (*(i for i in by_header if i in by_content), *(by_content if len(by_content) == 1 else by_header)):
        return AddressColumn(index, names[index], header)
    if by_content:
        several = _listed([names[i] for i in by_content])
        raise InputRefused(f"{file_name} has several columns of e-mail addresses: {several}; name one with --column")
    raise InputRefused(
        f"{file_name} has no column of e-mail addresses (its columns are: {_listed(names)}); "
        "give the right one the header email, or name it with --column"
    )


def _named(names: Sequence[str], wanted: str) -> int | None:
    for index, name in enumerate(names):
        if name.casefold() == wanted.strip().casefold():
            return index
    if wanted.strip().isdecimal() and 1 <= int(wanted) <= len(names):
        return int(wanted) - 1
    return None


def _rank(name: str) -> int | None:
    plain = "".join(character for character in name.casefold() if character.isalnum())
    return _HEADERS.index(plain) if plain in _HEADERS else None


def _holds_addresses(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell.strip()]
    return 2 * sum(map(looks_like_address, filled)) > len(filled)


def _listed(names: Sequence[str]) -> str:
    # A quote that closes late makes a header of lines, with whatever is in them.
    cleaned = map(clean_message, names[:_MOST_SHOWN])
    shown = ", ".join(name if len(name) <= 40 else f"{name[:40]}…" for name in cleaned)
    return shown if len(names) <= _MOST_SHOWN else f"{shown} and {len(names) - _MOST_SHOWN} more"
