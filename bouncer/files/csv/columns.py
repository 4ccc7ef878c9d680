"""Finds the column of a file that holds the e-mail addresses, or tells between which a person has to choose."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bouncer.errors import InputRefused
from bouncer.files.address_cells import holds_address, masked, without_invisible
from bouncer.files.csv.headers import Known, known_as
from bouncer.safe_text import clean_message

__all__ = ["AddressColumn", "Columns", "count_columns", "find_column", "has_header"]

_MOST_SHOWN = 20
_HARDLY_ANY = 10
"""A column holds hardly any addresses if another has more than so many times as many."""
_MOST_COLUMNS = 1000
# A column of marks, such as yes and no, is none of addresses whatever its header.
_MARKS = 3
_LONGEST_MARK = 12


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


@dataclass
class Columns:
    """The columns of a whole file.

    Attributes:
        header: The first record as it stands.
        first: The first record as the eye sees it.
        records: How many there are, the first included.
        width: Of the longest record, as far as it is looked at.
        cells: In all records, as far as they are looked at.
        addresses: Cells below the first record that hold an address, by column.
        filled: Cells below the first record that are not blank, by column.
        examples: The first address of each column, masked.
        marks: The different values of each column, as long as they are few and short.
    """

    header: list[str]
    first: list[str]
    records: int = 1
    width: int = 0
    cells: int = 0
    addresses: Counter[int] = field(default_factory=Counter)
    filled: Counter[int] = field(default_factory=Counter)
    examples: dict[int, str] = field(default_factory=dict)
    marks: dict[int, set[str]] = field(default_factory=dict)


def has_header(first: Sequence[str]) -> bool:
    """Tells whether the first record names the columns."""
    return not any(map(holds_address, first))


def count_columns(records: Iterable[Sequence[str] | None]) -> Columns | None:
    """Reads all records of a file, in bounded memory.

    Args:
        records: The cells of each, the header included; None for one that cannot be read.

    Returns:
        None where there are no records.
    """
    columns: Columns | None = None
    for cells in records:
        if cells is None:
            continue
        if columns is None:
            seen = [without_invisible(cell) for cell in cells[:_MOST_COLUMNS]]
            columns = Columns(list(cells), seen, width=len(cells))
            if has_header(cells):
                columns.cells = len(cells)
                continue
            columns.records = 0
        columns.records += 1
        _count(columns, cells[:_MOST_COLUMNS])
    return columns


def _count(columns: Columns, cells: Sequence[str]) -> None:
    columns.width = max(columns.width, len(cells))
    columns.cells += len(cells)
    for index, cell in enumerate(cells):
        if not cell:
            continue
        if "@" in cell and holds_address(cell):
            columns.addresses[index] += 1
            columns.filled[index] += 1
            if index not in columns.examples:
                columns.examples[index] = masked(cell)
        elif not cell.isspace():
            columns.filled[index] += 1
            marks = columns.marks.setdefault(index, set())
            if len(marks) <= _MARKS:
                marks.add(cell[: _LONGEST_MARK + 1])


def find_column(file_name: str, columns: Columns, wanted: str | None = None) -> AddressColumn:
    """Finds the column of addresses: a known header first, else the one column that mostly holds addresses.

    Args:
        file_name: For the message.
        columns: Of the whole file.
        wanted: The column's header as a person gave it, or its number from 1.

    Returns:
        The column.

    Raises:
        InputRefused: There is no such column, or several that it could be.
    """
    first = columns.first
    header = has_header(first)
    names = [first[i] if header and i < len(first) and first[i] else f"column {i + 1}" for i in range(columns.width)]
    if wanted is not None:
        index = _named(file_name, names, wanted)
        return AddressColumn(index, names[index], header)
    candidates = _candidates(columns, names if header else [])
    if len(candidates) == 1:
        return AddressColumn(candidates[0], names[candidates[0]], header)
    if candidates:
        raise InputRefused(
            f"{file_name} has several columns of e-mail addresses: {_listed([names[i] for i in candidates])}; "
            f"name one with --column ({_with_examples(columns, names, candidates)})"
        )
    raise InputRefused(
        f"{file_name} has no column of e-mail addresses (its columns are: {_listed(names)}); "
        "give the right one the header email, or name it with --column"
    )


def _candidates(columns: Columns, names: Sequence[str]) -> list[int]:
    by_header = [i for i, name in enumerate(names) if known_as(name) is Known.FIRST and not _is_of_marks(columns, i)]
    most = max(columns.addresses.values(), default=0)
    well_filled = [i for i in by_header if _HARDLY_ANY * columns.addresses[i] >= most]
    if len(well_filled) == 1:
        return well_filled
    if well_filled:
        # Of those without any address there is nothing to choose between: the first is as good.
        return well_filled if most else well_filled[:1]
    mostly = [i for i in sorted(columns.addresses) if 2 * columns.addresses[i] > columns.filled[i]]
    # The known header leads to hardly any addresses, and another column has them: the person knows which is meant.
    return by_header + [i for i in mostly if i not in by_header]


def _is_of_marks(columns: Columns, index: int) -> bool:
    marks = columns.marks.get(index, set())
    return (
        not columns.addresses[index]
        and 2 * columns.filled[index] > columns.records - 1
        and len(marks) <= _MARKS
        and all(len(mark) <= _LONGEST_MARK for mark in marks)
        and max(columns.addresses.values(), default=0) > 0
    )


def _named(file_name: str, names: Sequence[str], wanted: str) -> int:
    plain = without_invisible(wanted)
    found = [index for index, name in enumerate(names) if name.casefold() == plain.casefold()]
    if len(found) == 1:
        return found[0]
    if found:
        numbers = " or ".join(f"--column {index + 1}" for index in found)
        raise InputRefused(f"{file_name} has {len(found)} columns {plain!r}; name one by its number: {numbers}")
    if plain.isdecimal() and 1 <= int(plain) <= len(names):
        return int(plain) - 1
    raise InputRefused(
        f"{file_name} has no column {wanted!r}; its columns, of which --column takes one, are: {_listed(names)}"
    )


def _with_examples(columns: Columns, names: Sequence[str], indexes: Sequence[int]) -> str:
    twice = {name for name, count in Counter(names).items() if count > 1}
    shown = []
    for i in indexes[:_MOST_SHOWN]:
        name = f"column {i + 1}" if names[i] in twice else _shown(names[i])
        example = f", such as {columns.examples[i]}" if i in columns.examples else ""
        shown.append(f"{name} holds {columns.addresses[i]:,}{example}")
    return "; ".join(shown)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(_shown, names[:_MOST_SHOWN]))
    return shown if len(names) <= _MOST_SHOWN else f"{shown} and {len(names) - _MOST_SHOWN} more"


def _shown(name: str) -> str:
    # A quote that closes late makes a header of lines, with whatever is in them.
    name = clean_message(name)
    return name if len(name) <= 40 else f"{name[:40]}…"
