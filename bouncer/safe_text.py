"""Text by strangers, made fit to be stored and shown."""

import re

__all__ = ["clean_message", "plain"]

_ADDRESS = re.compile(r"[^\s@<>\",;:()\[\]]+@[^\s@<>\"',;:()\[\]{}]+")


_LONGEST_MESSAGE = 300


def clean_message(message: str) -> str:
    """Makes a message of Bouncer fit to be stored and shown: no addresses, one line, bounded, in the BMP.

    The plan's tables are utf8mb3, which has no room for characters beyond the basic multilingual plane.
    """
    return plain(_ADDRESS.sub("[address]", message[:10_000]))


def plain(text: str) -> str:
    """Makes a text fit to be stored: one line, bounded, in the BMP. For what holds no addresses, such as user@host."""
    one_line = " ".join(text[:10_000].split())
    return "".join(c for c in one_line if c.isprintable() and ord(c) < 0x10000)[:_LONGEST_MESSAGE]
