"""Cells of CSV files that no spreadsheet runs."""

import re

__all__ = ["harmless"]

# Spreadsheets run a cell that begins with one of these; in East Asian locales, with its full-width form too.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001  # the full-width forms are meant
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)


def harmless(cell: str) -> str:
    """Gives a text that a spreadsheet would run as a formula a ' in front; numbers stay numbers."""
    return f"'{cell}" if cell.startswith(_FORMULA) and not _NUMBER.fullmatch(cell) else cell
