"""Finds the encoding of a CSV file, and tells text from what is none."""

import codecs
from pathlib import Path

from bouncer.errors import InputRefused

__all__ = ["find_encoding"]

_PIECE = 1 << 20
_OTHER_FORMATS = {
    b"PK\x03\x04": "an Excel workbook or another ZIP archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "compressed",
    b"%PDF": "a PDF document",
}
_FIRST_SYLLABLE, _LAST_SYLLABLE = "\N{HIRAGANA LETTER SMALL A}", "\N{KATAKANA LETTER VO}"
_FEWEST_SYLLABLES = 2
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, with whose mark it begins
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# What no text holds: the codes below the space but tab, line feed, form feed, carriage return, substitute, escape.
_CONTROL = bytes(code for code in range(32) if code not in b"\t\n\f\r\x1a\x1b")


def find_encoding(path: Path, name: str) -> tuple[str, tuple[str, ...]]:
    """Reads through a file, in bounded memory, to find its encoding.

    Args:
        path: The file.
        name: Its name for messages.

    Returns:
        The encoding, as Python names it, and what a person should know about it.

    Raises:
        InputRefused: The file is not text.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_PIECE)
        for signature, what in _OTHER_FORMATS.items():
            if head.startswith(signature):
                raise InputRefused(f"{name} is {what}, not a CSV file; save the contacts as CSV first")
        encoding = _by_first_bytes(head)
        if encoding is not None:
            return encoding, ()
        decoder = codecs.getincrementaldecoder("utf-8")()
        binary = InputRefused(f"{name} is not a text file; save the contacts as CSV first")
        if _control_characters(head) > len(head) / 10:
            raise binary
        piece = head
        try:
            while piece:
                decoder.decode(piece)
                piece = file.read(_PIECE)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            if b"\0" in head or b"\0" in piece:
                raise binary from None
            if _is_japanese(head):
                return "cp932", ("The file is not in UTF-8; it was read as Shift JIS.",)
            return "cp1252", ("The file is not in UTF-8; it was read as Windows-1252.",)
    return "utf-8", ()


def _by_first_bytes(head: bytes) -> str | None:
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return encoding
    # Latin text in UTF-16 without a mark: every other byte is NUL.
    for low, high, encoding in ((head[::2], head[1::2], "utf-16-le"), (head[1::2], head[::2], "utf-16-be")):
        if high.count(0) > len(high) / 2 and _control_characters(low) <= len(low) / 100:
            return encoding
    return None


def _is_japanese(head: bytes) -> bool:
    # As Excel saves CSV files in Japan. Western text is hardly ever valid Shift JIS, and holds no syllables then.
    try:
        text = codecs.getincrementaldecoder("cp932")().decode(head)
    except UnicodeDecodeError:
        return False
    return sum(_FIRST_SYLLABLE <= letter <= _LAST_SYLLABLE for letter in text) >= _FEWEST_SYLLABLES


def _control_characters(data: bytes) -> int:
    return len(data) - len(data.translate(None, _CONTROL))
