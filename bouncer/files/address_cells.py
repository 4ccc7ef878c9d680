"""Takes the address out of a cell as people fill it: with a name, quotes, ``mailto:``, or characters nobody sees."""

import re
import unicodedata
from urllib.parse import unquote

from bouncer.addresses.normalisation import InvalidAddress, address_key
from bouncer.files.csv.cells import without_guard

__all__ = ["addresses_in", "holds_address", "masked", "take_address", "without_invisible"]

# Most cells, recognised at once.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+-]*@[A-Za-z0-9][A-Za-z0-9.-]*\.[A-Za-z]{2,63}")
_STOPS = re.compile(r"[\s,;|<>()\[\]\":]")
_DOMAIN = re.compile(r"[^\s@,;|<>()\[\]\":?/]+\.[^\s@,;|<>()\[\]\":?/]+")
_SHAPE = re.compile(r"[^\s@,;|\"<>]+@[^\s@,;|\"<>]+\.[^\s@,;|\"<>]+")
_MAILTO = re.compile(r"mailto:\s*(?://)?", re.IGNORECASE)
_X500 = re.compile(r"/o=.*/cn=", re.IGNORECASE)
_IN_BRACKETS = re.compile(r"(?P<name>[^<]*)<(?P<address>[^<>@]*@[^<>]*)>", re.DOTALL)
_IN_OTHER_BRACKETS = re.compile(r"(?P<name>[^(\[]*)[(\[](?P<address>[^()\[\]\s]+@[^()\[\]\s]+)[)\]]")
_WITH_COMMENT = re.compile(r"(?P<address>[^\s()<>@]+@[^\s()<>@]+)\s*\((?P<name>[^()@]*)\)")

_DOUBLE_QUOTES = {'""', "“”", "„“", "„”", "«»", "»«"}
_SINGLE_QUOTES = {"''", "``", "‘’", "‚‘", "‚’", "‹›", "›‹"}  # noqa: RUF001  # such quotes are meant
_QUOTES = _DOUBLE_QUOTES | _SINGLE_QUOTES
# No address ends or begins with one of these; the apostrophe and the grave accent may begin one.
_ENDS = ";,.:!?>)]}\"'`“”„‘’‚«»‹›…、。"  # noqa: RUF001  # as above
_BEGINNINGS = ';,:<([{"“”„‘’‚«»‹›'  # noqa: RUF001  # as above
_ANY_QUOTE = re.compile(f"[{''.join(_QUOTES)}]")
# Letters and symbols by their category, blank to the eye all the same.
_BLANK = "\u115f\u1160\u3164\uffa0\u2800\u034f\ufe0e\ufe0f"
_JOINERS = "\u200c\u200d"
"""Some scripts are not written without them, so the library decides whether they may stand where they stand."""
_ROUNDS = 8

NAME = "names and brackets"
MAILTO = "mailto:"
QUOTES = "quotes"
PUNCTUATION = "punctuation"
INVISIBLE = "invisible characters"


def take_address(cell: str) -> tuple[str, frozenset[str]]:
    """Takes what surrounds an address off it; whatever is left is still to be checked.

    Args:
        cell: As a person filled it.

    Returns:
        The address, and what was taken off in words; white space is not counted.

    Raises:
        InvalidAddress: It holds several addresses, or an invisible character within one.
    """
    cell = cell.strip()
    if _PLAIN.fullmatch(cell):
        return cell, frozenset()
    text = without_guard(cell)
    if _X500.match(text):
        raise InvalidAddress("It is the X.500 name of a mailbox on an Exchange server, not its e-mail address.")
    found = addresses_in(text)
    if len(found) > 1:
        raise InvalidAddress(
            f"The cell holds {len(found)} addresses; give each a line of its own, or let the import split them."
        )
    off: set[str] = set()
    if len(_shaped_in(text)) > 1:
        # The same one twice, as in anna@example.com <anna@example.com>.
        off.add(NAME)
        text = found[0]
    for _ in range(_ROUNDS):
        before = text
        for step in (_off_invisible, _off_quotes, _off_mailto, _off_name, _off_punctuation):
            text = step(text, off)
        if text == before:
            break
    for character in text:
        if _is_invisible(character) and character not in _JOINERS and not character.isspace():
            name = unicodedata.name(character, "a control character")
            raise InvalidAddress(f"An invisible character stands within it: U+{ord(character):04X}, {name}.")
    return text, frozenset(off)


def addresses_in(cell: str) -> list[str]:
    """Finds the different addresses in a cell, in their order; in another case, one is the same."""
    found: dict[bytes, str] = {}
    for shaped in _shaped_in(cell):
        text = shaped.removeprefix("'")
        for step in (_off_invisible, _off_punctuation):
            text = step(text, set())
        found.setdefault(address_key(text), text)
    return list(found.values())


def _shaped_in(cell: str) -> list[str]:
    # From one @ to the next: an expression for the whole takes the square of a word's length.
    found = []
    before, *behind = cell.split("@")
    for text in behind:
        local, domain = _STOPS.split(before)[-1], _DOMAIN.match(text)
        before = text
        if local and domain is not None:
            found.append(f"{local}@{domain[0]}")
            before = text[domain.end() :]
    return found


def holds_address(cell: str) -> bool:
    """Tells whether a cell holds something shaped like an address, valid or not, alone or with what surrounds it."""
    if "@" not in cell:
        return False
    if _PLAIN.fullmatch(cell.strip()):
        return True
    try:
        return _SHAPE.fullmatch(take_address(cell)[0]) is not None
    except InvalidAddress:
        return True


def masked(cell: str) -> str:
    """Gives the address of a cell as an example that tells nobody whose it is: ``a…@e….com``."""
    found = addresses_in(cell)
    if not found:
        return "…"
    local, _, domain = found[0].rpartition("@")
    name, _, ending = domain.rpartition(".")
    return f"{local[:1]}…@{name[:1]}….{ending}"


def without_invisible(text: str) -> str:
    """Gives a header as the eye sees it: without invisible characters, and with plain blanks."""
    seen = "".join(" " if character.isspace() else character for character in text if not _is_hidden(character))
    return re.sub(" +", " ", seen).strip(" \"'")


def _is_hidden(character: str) -> bool:
    return _is_invisible(character) and not character.isspace()


def _is_invisible(character: str) -> bool:
    if " " < character <= "~":
        return False
    return character in _BLANK or unicodedata.category(character) in {"Cc", "Cf", "Zs", "Zl", "Zp"}


def _off_invisible(text: str, off: set[str]) -> str:
    first, last = 0, len(text)
    while first < last and _is_invisible(text[first]):
        first += 1
    while last > first and _is_invisible(text[last - 1]):
        last -= 1
    if any(map(_is_hidden, text[:first] + text[last:])):
        off.add(INVISIBLE)
    return text[first:last]


def _off_quotes(text: str, off: set[str]) -> str:
    if len(text) > 1 and text[0] + text[-1] in _QUOTES:
        off.add(QUOTES)
        return text[1:-1]
    return text


def _off_mailto(text: str, off: set[str]) -> str:
    match = _MAILTO.match(text)
    if match is None:
        return text
    off.add(MAILTO)
    return unquote(text[match.end() :].partition("?")[0])


def _off_name(text: str, off: set[str]) -> str:
    for form in (_IN_BRACKETS, _IN_OTHER_BRACKETS, _WITH_COMMENT):
        match = form.fullmatch(text)
        if match is not None:
            off.add(NAME)
            return match["address"]
    return text


def _off_punctuation(text: str, off: set[str]) -> str:
    for at_end in (True, False):
        left = text.rstrip(_ENDS) if at_end else text.lstrip(_BEGINNINGS)
        # Of a quoted local part, or an IP address for a domain, nothing is taken: the reason should name the whole.
        if left == text or (not at_end and '"@' in text) or (text.endswith("]") and "@[" in text):
            continue
        taken = text[len(left) :] if at_end else text[: len(text) - len(left)]
        off.add(QUOTES if _ANY_QUOTE.match(taken) else PUNCTUATION)
        text = left
    return text
