"""Cells of CSV files that no spreadsheet runs."""

import re

__all__ = ["harmless", "harmless_behind_commas", "without_guard"]

# Spreadsheets run a cell that begins with one of these; in East Asian locales, with its full-width form too.
_SIGNS = "=+@＝＋－＠-"  # noqa: RUF001  # the full-width forms are meant
# Spreadsheets leave out what begins a cell and is not seen, and quotes that mean another cell to them than to us.
_UNSEEN = r"[\s\"\ufeff\u200b\0]*"
# A spreadsheet that takes another separator than the comma begins a cell behind it, and a row behind a line break.
# A run of these is looked at once, from its beginning: else a cell of tabs takes the square of its length.
_RUN = r"(?<![;|\s\"\ufeff\u200b\0])[;|\s\"\ufeff\u200b\0]++"
_RUN_WITH_COMMAS = r"(?<![,;|\s\"\ufeff\u200b\0])[,;|\s\"\ufeff\u200b\0]++"
_BEHIND = re.compile(rf"{_RUN}(?=[{_SIGNS}])")
_BEHIND_COMMAS = re.compile(rf"{_RUN_WITH_COMMAS}(?=[{_SIGNS}])")
_GUARD = re.compile(rf"(^|{_RUN_WITH_COMMAS})'(?={_UNSEEN}[\t\r\n{_SIGNS}])")
_SEPARATOR = re.compile(r"[;\t|\r\n]")
_OR_COMMA = re.compile(r"[,;\t|\r\n]")
_BEGINS = re.compile(rf"[\t\r\n]|{_UNSEEN}[{_SIGNS}]")
# Most cells, recognised at once.
_PLAIN = re.compile(rf"(?!{_UNSEEN}[{_SIGNS}])[^;\t|\r\n]*")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)


def harmless(cell: str) -> str:
    """Gives what a spreadsheet would run as a formula a ' in front, also within the text; numbers stay numbers."""
    if _PLAIN.fullmatch(cell):
        return cell
    cell = _BEHIND.sub(lambda run: f"{run[0]}'" if _SEPARATOR.search(run[0]) else run[0], cell)
    return f"'{cell}" if _BEGINS.match(cell) and not _NUMBER.fullmatch(cell) else cell


def harmless_behind_commas(cell: str) -> str:
    """Does the same behind commas, for a file that has another separator, and so no quotes around a cell of commas."""
    return _BEHIND_COMMAS.sub(lambda run: f"{run[0]}'" if "," in run[0] else run[0], cell) if "," in cell else cell


def without_guard(cell: str) -> str:
    """Gives a text as it was before ``harmless``, so that what was exported comes back."""
    return _GUARD.sub(lambda found: found[0] if found[1] and not _OR_COMMA.search(found[1]) else found[1], cell)
