"""Excel workbooks: the rows of the first sheet as texts, and rows of text as a sheet."""

import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from bouncer.errors import InputRefused
from bouncer.files.lists.workbook_parts import refuse_heavy_parts

__all__ = ["LARGEST_SHEET", "is_workbook", "rows_of", "unpacked_bytes", "write_workbook"]

LARGEST_SHEET = 1_048_576
"""Rows of one sheet, the header included: Excel's own limit."""

_SHEETS = "xl/workbook.xml"
_LONGEST_CELL = 32_767
# XML has no room for them.
_ILLEGAL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def is_workbook(path: Path) -> bool:
    """Tells an Excel workbook from every other file, whatever its name."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _SHEETS in archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return False


def unpacked_bytes(path: Path) -> int:
    """Tells how large all parts of a workbook are together; no more than that is read of them."""
    with zipfile.ZipFile(path) as archive:
        return sum(part.file_size for part in archive.infolist())


def rows_of(path: Path, name: str) -> Iterator[list[str]]:
    """Yields the rows of the first sheet that has any, in bounded memory.

    Args:
        path: The workbook.
        name: Its name for messages.

    Raises:
        InputRefused: It cannot be read, as when a password protects it; it has more rows than Excel, or takes far
            too much memory.
    """
    try:
        refuse_heavy_parts(path, f"{name} unpacks to far more than a list; save its sheet as CSV")
        # By its handle: the library refuses a workbook by its name.
        with path.open("rb") as file:
            # Formulas count by the value that Excel last showed.
            book = _openpyxl().load_workbook(file, read_only=True, data_only=True)
            for sheet in book.worksheets:
                # A workbook may claim any dimensions, to which each row would be filled up.
                sheet.reset_dimensions()
                rows = ([_text(value) for value in row] for row in sheet.iter_rows(values_only=True))
                first = next(rows, None)
                if first is not None:
                    yield first
                    yield from islice(rows, LARGEST_SHEET - 1)
                    if next(rows, None) is not None:
                        raise InputRefused(f"{name} has more rows than a sheet of Excel; save its sheet as CSV")
                    return
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, SyntaxError, RuntimeError) as error:
        raise InputRefused(
            f"{name} is an Excel workbook that cannot be read ({type(error).__name__}); save its sheet as CSV"
        ) from None


def write_workbook(file: BinaryIO, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Writes rows as the one sheet of a workbook, every cell as text: Excel runs none and takes none for a date.

    Args:
        file: To write to.
        header: The first row.
        rows: The others, ``LARGEST_SHEET`` at most with the header.

    Returns:
        How many rows there are, without the header.

    Raises:
        InputRefused: There is no room for them.
    """
    book = _openpyxl().Workbook(write_only=True)
    sheet = book.create_sheet("list")
    sheet.append([_cell(sheet, name) for name in header])
    written = 0
    for row in rows:
        written += 1
        if written >= LARGEST_SHEET:
            raise InputRefused(f"a sheet of Excel has no room for more than {LARGEST_SHEET:,} lines; write a CSV file")
        sheet.append([_cell(sheet, value) for value in row])
    book.save(file)
    return written


def _openpyxl() -> Any:
    # Only where there is a workbook: it takes a third of a second, which commands on other lists need not wait for.
    return import_module("openpyxl")


def _cell(sheet: Any, value: Any) -> Any:
    new_cell = _openpyxl().cell.WriteOnlyCell
    if not isinstance(value, str):
        return new_cell(sheet, value)
    cell = new_cell(sheet, _ILLEGAL.sub("", value)[:_LONGEST_CELL])
    # Set by hand: of a text that begins with =, the library would make a formula.
    cell.data_type = "s"
    return cell


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d}" if value.time() == time() else value.isoformat(" ", "seconds")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
