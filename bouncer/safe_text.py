"""Text by strangers, made fit to be stored and shown."""

import re
from collections.abc import Callable

__all__ = [
    "VISIBLE",
    "WITHOUT_ADDRESS",
    "clean_message",
    "holds_address",
    "in_event",
    "in_markdown",
    "plain",
    "visible",
    "without_addresses",
]

_STOPS = re.compile(r"[\s<>\",;:()\[\]]")
_DOMAIN = re.compile(r"[^\s@<>\"',;:()\[\]{}]+")

# Within 'quotes', a domain behind its @ is the end of an address, not one.
_ADDRESS = r"""[^\s<>"'`,;:()\[\]@]@[^\s@<>"'`,;:()\[\]{}]"""
WITHOUT_ADDRESS = rf"^(?![\s\S]*{_ADDRESS})"
"""For a JSON schema: a text that ``holds_address`` finds nothing in."""

_LONGEST_MESSAGE = 300


def clean_message(message: str) -> str:
    """Makes a message of Bouncer fit to be stored and shown: no addresses, one line, bounded, in the BMP.

    The plan's tables are utf8mb3, which has no room for characters beyond the basic multilingual plane.
    """
    return plain(without_addresses(message[:10_000]))


def plain(text: str) -> str:
    """Makes a text fit to be stored: one line, bounded, in the BMP. For what holds no addresses, such as user@host."""
    one_line = " ".join(text[:10_000].split())
    return "".join(c for c in one_line if c.isprintable() and ord(c) < 0x10000)[:_LONGEST_MESSAGE]


def holds_address(text: str) -> bool:
    """Tells whether anything in a text looks like an address."""
    return re.search(_ADDRESS, text) is not None


def without_addresses(text: str, instead: Callable[[str], str] = lambda _: "[address]") -> str:
    """Gives a text with something else, ``[address]`` by default, in the place of all that looks like one."""
    # From one @ to the next: an expression for the whole takes the square of a word's length.
    shown = []
    before, *behind = text.split("@")
    for following in behind:
        local, domain = _STOPS.split(before)[-1], _DOMAIN.match(following)
        if local and domain is not None:
            shown += [before[: len(before) - len(local)], instead(f"{local}@{domain[0]}")]
            before = following[domain.end() :]
        else:
            shown += [before, "@"]
            before = following
    return "".join([*shown, before])


# A control character as the picture of itself; what turns the direction of text, or is not seen, as a replacement.
VISIBLE = {
    **{number: 0x2400 + number for number in range(0x20)},
    0x7F: 0x2421,
    **dict.fromkeys(
        [
            *range(0x80, 0xA0),
            *(0x61C, 0x200B, 0x200E, 0x200F, 0xFEFF),
            *range(0x2028, 0x202F),
            *range(0x2060, 0x2070),
            *range(0xFFF9, 0xFFFC),
            *range(0xE0000, 0xE0080),
        ],
        0xFFFD,
    ),
}
"""For ``str.translate``; see ``visible``."""

_MARKDOWN = {
    **{ord(sign): f"\\{sign}" for sign in "\\`*_[]|~"},
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord("&"): "&amp;",
}
# Addresses on the web become links without any sign.
_WEB = re.compile(r":(?=//)|(?<=\bwww)\.", re.IGNORECASE)
_TEMPLATE = str.maketrans("{}<>%`", "()()/'")


def visible(text: str) -> str:
    """Makes a text fit for terminals and logs: one line, in which nothing moves the cursor or is hidden."""
    return text.translate(VISIBLE)


def in_markdown(text: str) -> str:
    """Makes a text fit for an artifact: it is shown as it is, and makes no picture, link, table, heading or HTML."""
    return _WEB.sub(lambda sign: f"&#{ord(sign[0])};", visible(text).translate(_MARKDOWN))


def in_event(text: str) -> str:
    """Makes a text fit for an event, which automations put into templates and chats: it is no command there."""
    return visible(text).translate(_TEMPLATE)
