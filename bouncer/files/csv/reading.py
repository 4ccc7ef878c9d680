"""Reads the addresses of a CSV file as people have them: any encoding, delimiter and line ending, line by line."""

import csv
import io
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TextIO

from bouncer.errors import InputRefused
from bouncer.files.address_cells import addresses_in, holds_address
from bouncer.files.csv.columns import Columns, count_columns, find_column
from bouncer.files.csv.encoding import find_encoding
from bouncer.files.csv.formats import refuse_other_formats

__all__ = [
    "NO_COLUMN",
    "TOO_LONG",
    "Chunk",
    "Layout",
    "RejectedLine",
    "inspect",
    "read_chunks",
    "read_records",
    "refuse_no_file",
]

TOO_LONG = "The line is too long to be read."
NO_COLUMN = "The line ends before column {}, where the addresses are."

_LONGEST_LINE = 1 << 20
_LONGEST_RECORD = 1 << 20
"""Characters of one record, which can have many lines: quotes that never close would make one of a whole file."""
_LONGEST_KEPT = 1000
_SAMPLE_RECORDS = 100
_SAMPLE_CELLS = 200_000
_DELIMITERS = ",;\t|"
_MOST_COLUMNS = 16_384
"""Excel's own limit."""
_MOST_FILLED_UP = 2_000_000_000
"""Cells that lines of a result may have more than those of the list, so that all are as long as the longest."""


@dataclass(frozen=True)
class Layout:
    """Layout of a file to be read.

    Attributes:
        path: The file.
        encoding: As Python names it.
        delimiter: One character.
        prefix_lines: Lines before the first record.
        header: Whether the first record is a header.
        column: Where the addresses are, counted from 0.
        column_name: Its header, or ``column 1`` and so on where there is none.
        names: The header as it stands, or ``column 1`` and so on; one for each column.
        notes: What a person should know about how the file was read.
    """

    path: Path
    encoding: str
    delimiter: str
    prefix_lines: int
    header: bool
    column: int
    column_name: str
    names: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class RejectedLine:
    """A line without a usable address: its number in a text editor, why, and what stands there."""

    line: int
    reason: str
    value: str


@dataclass(frozen=True)
class Chunk:
    """A stretch of a file.

    Attributes:
        lines: The numbers of the lines, as a text editor shows them.
        addresses: What stands in the column of addresses there, unchecked; as many as lines.
        rejected: Lines that have no such column.
        bytes_done: How much of the file has been read.
    """

    lines: list[int]
    addresses: list[str]
    rejected: list[RejectedLine]
    bytes_done: int


def refuse_no_file(path: Path) -> None:
    """Refuses a path with nothing to be read at it: before a database is made or a server is started for it.

    Raises:
        InputRefused: There is no such file, or it is a directory, or a pipe.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise InputRefused(f"{path}: there is no such file; check its name and directory") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    if stat.S_ISDIR(mode):
        raise InputRefused(f"{path} is a directory; name a CSV file in it")
    if not stat.S_ISREG(mode):
        raise InputRefused(f"{path} is not a regular file; write the contacts to a file first")


def inspect(path: Path, column: str | None = None, name: str | None = None) -> Layout:
    """Finds out how a file is to be read, and whether it can be. Reads it through, in bounded memory.

    Args:
        path: The file.
        column: The header of the column of addresses, or its number from 1; None to find it.
        name: The name for messages; the file's own if left out.

    Returns:
        The layout for ``read_chunks``.

    Raises:
        InputRefused: There is no such file, it is no CSV file, or it is not clear where the addresses are.
    """
    name = name or path.name
    refuse_no_file(path)
    try:
        encoding, notes = find_encoding(path, name)
        refuse_other_formats(path, encoding, name)
        delimiter, prefix_lines = _find_delimiter(path, encoding)
        columns = _columns(path, encoding, delimiter, prefix_lines)
    except OSError as error:
        raise _unreadable(path, error) from None
    if columns is None:
        raise InputRefused(f"{name} holds no contacts; it needs a line for each")
    if columns.width > _MOST_COLUMNS or columns.width * columns.records - columns.cells > _MOST_FILLED_UP:
        raise InputRefused(
            f"{name} has a line of {columns.width:,} columns, far more than its other lines or any list; "
            "delete the empty columns"
        )
    found = find_column(name, columns, column)
    if found.header and columns.records == 1:
        raise InputRefused(f"{name} has nothing below its header; it needs a line for each contact")
    header = columns.header if found.header else ()
    names = (*header, *(f"column {i + 1}" for i in range(len(header), columns.width)))
    return Layout(path, encoding, delimiter, prefix_lines, found.header, found.index, found.name, names, notes)


def _unreadable(path: Path, error: OSError) -> InputRefused:
    return InputRefused(f"{path} cannot be read ({error.strerror}); check its permissions")


def _columns(path: Path, encoding: str, delimiter: str, prefix_lines: int) -> Columns | None:
    with path.open(encoding=encoding, errors="replace", newline="") as file:
        return count_columns(cells for _, cells in _records(file, delimiter, prefix_lines))


def read_records(layout: Layout, rows: int) -> Iterator[list[tuple[int, list[str] | None]]]:
    """Reads whole lines of a file in bounded memory, in its order; blank ones are passed over.

    Args:
        layout: From ``inspect``.
        rows: The most lines of one stretch.

    Yields:
        Stretches of line numbers with the cells of each line; None for a line that cannot be read.
    """
    with layout.path.open(encoding=layout.encoding, errors="replace", newline="") as file:
        records = _records(file, layout.delimiter, layout.prefix_lines)
        if layout.header:
            next(records, None)
        while stretch := list(islice(records, rows)):
            yield stretch


def read_chunks(layout: Layout, rows: int) -> Iterator[Chunk]:
    """Reads a file in bounded memory; blank lines, and lines of nothing but delimiters, are passed over.

    Args:
        layout: From ``inspect``.
        rows: The most lines of one chunk.

    Yields:
        Chunks in the order of the file, none of them empty.
    """
    with (
        layout.path.open("rb") as raw,
        io.TextIOWrapper(raw, encoding=layout.encoding, errors="replace", newline="") as file,
    ):
        records = _records(file, layout.delimiter, layout.prefix_lines)
        if layout.header:
            next(records, None)
        while True:
            chunk = Chunk([], [], [], 0)
            for line, cells in islice(records, rows):
                if cells is None:
                    chunk.rejected.append(RejectedLine(line, TOO_LONG, ""))
                elif len(cells) <= layout.column:
                    reason = NO_COLUMN.format(layout.column + 1)
                    value = layout.delimiter.join(cells)[:_LONGEST_KEPT]
                    chunk.rejected.append(RejectedLine(line, reason, value))
                else:
                    chunk.lines.append(line)
                    chunk.addresses.append(cells[layout.column][:_LONGEST_KEPT])
            if not chunk.lines and not chunk.rejected:
                return
            yield replace(chunk, bytes_done=raw.tell())


def _find_delimiter(path: Path, encoding: str) -> tuple[str, int]:
    """Gives the delimiter and the number of lines before the first record."""
    with path.open(encoding=encoding, errors="replace", newline="") as file:
        first = file.readline(100).rstrip("\r\n").strip('"')
    # Excel writes its delimiter into a line of its own.
    told = first[-1] if len(first) == 5 and first.lower().startswith("sep=") else None
    prefix_lines = 0 if told is None else 1
    best, best_score = ",", (-1, -1)
    for delimiter in told or _DELIMITERS:
        with path.open(encoding=encoding, errors="replace", newline="") as file:
            records = _sample(_records(file, delimiter, prefix_lines))
        # A delimiter that leaves addresses whole and one in a cell, then one that makes columns.
        addresses = sum(_is_one_address(cell) for cells in records for cell in cells)
        alike = sum(len(cells) == len(records[0]) > 1 for cells in records)
        if (addresses, alike) > best_score:
            best, best_score = delimiter, (addresses, alike)
    return best, prefix_lines


def _is_one_address(cell: str) -> bool:
    return holds_address(cell) and len(addresses_in(cell)) < 2


def _sample(records: Iterator[tuple[int, list[str] | None]]) -> list[list[str]]:
    sample: list[list[str]] = []
    room = _SAMPLE_CELLS
    for _, cells in islice(records, _SAMPLE_RECORDS):
        if cells is not None:
            sample.append(cells)
            room -= len(cells)
        if room < 0:
            break
    return sample


def _records(file: TextIO, delimiter: str, prefix_lines: int) -> Iterator[tuple[int, list[str] | None]]:
    """Yields the number of each record's first line, and its cells, or None where it cannot be read."""
    for _ in range(prefix_lines):
        file.readline(_LONGEST_LINE)
    number = prefix_lines + 1
    held: list[str] = []
    reader = csv.reader(_lines(file, held), delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        found: list[list[str] | None]
        try:
            found = [next(reader)]
        except StopIteration:
            return
        except csv.Error:
            # A stray quote must not swallow the lines after it: each line is read by itself.
            found = [_read_line(line, delimiter) for line in held]
        for line, cells in enumerate(found, number):
            if cells is None or any(cell.strip() for cell in cells):
                yield line, cells
        number += len(held)
        held.clear()


def _lines(file: TextIO, held: list[str]) -> Iterator[str]:
    """Yields lines, and keeps them in ``held`` until somebody clears it."""
    # The csv module refuses this in whatever state it is in.
    refused = "x" * (csv.field_size_limit() + 1)
    size = 0
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE and line[-1] not in "\r\n":
            while (rest := file.readline(_LONGEST_LINE)) and rest[-1] not in "\r\n":
                pass
            line = refused
        size = size + len(line) if held else len(line)
        held.append(line)
        if size > _LONGEST_RECORD:
            # Its lines are read one by one then, this one too.
            yield refused
            continue
        yield line


def _read_line(line: str, delimiter: str) -> list[str] | None:
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return None
