"""Refuses texts that hold contacts in another form than lines of cells, before anything is made of them."""

import re
from pathlib import Path

from bouncer.errors import InputRefused

__all__ = ["refuse_other_formats"]

_HEAD_CHARACTERS = 4096
_FORMATS = {
    "a vCard file": re.compile(r"BEGIN:VCARD\b", re.IGNORECASE),
    "a calendar file": re.compile(r"BEGIN:VCALENDAR\b", re.IGNORECASE),
    "a JSON document": re.compile(r"[\[{]\s*([\[{\"\]}]|$)"),
    "an HTML or XML document": re.compile(r"<(!|\?|[a-z][a-z0-9:]*[\s/>])", re.IGNORECASE),
    "an RTF document": re.compile(r"\{\\rtf", re.IGNORECASE),
    "an LDIF file": re.compile(r"(version:\s*\d+\s+)?dn::?\s", re.IGNORECASE),
    "a mail message": re.compile(r"(From |Return-Path:|Received:|Delivered-To:|MIME-Version:)"),
    "an SQL script": re.compile(r"(--[^\r\n]*[\r\n]\s*)*+(INSERT\s+INTO|CREATE\s+TABLE|/\*!)", re.IGNORECASE),
}


def refuse_other_formats(path: Path, encoding: str, name: str) -> None:
    """Looks at how a text begins.

    Args:
        path: The file.
        encoding: Its encoding.
        name: Its name for messages.

    Raises:
        InputRefused: It is no list.
    """
    with path.open(encoding=encoding, errors="replace", newline="") as file:
        head = file.read(_HEAD_CHARACTERS).lstrip("\ufeff \t\r\n")
    for what, beginning in _FORMATS.items():
        if beginning.match(head):
            raise InputRefused(f"{name} is {what}, not a list; export the contacts as CSV, a line for each")
