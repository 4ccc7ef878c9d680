"""Writes rows of a result: to a file, standard output or a URL; as CSV, packed by gzip, or as an Excel workbook."""

import csv
import gzip
import io
import locale
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

import fsspec  # type: ignore[import-untyped]  # it brings no types

from bouncer.errors import InputRefused
from bouncer.files.atomic_file import atomic_file
from bouncer.files.csv.cells import harmless_behind_commas
from bouncer.files.lists.sources import STANDARD_INPUT, is_url, name_of, of_this_machine, path_of
from bouncer.files.lists.workbooks import write_workbook
from bouncer.files.private_folders import temporary_folder
from bouncer.safe_text import without_addresses
from bouncer.safe_urls import has_password

__all__ = ["STANDARD_OUTPUT", "guarded_place", "place_of_result", "refuse_overwriting", "send_file", "written_rows"]

STANDARD_OUTPUT = "-"
_BYTE_ORDER_MARK = "\ufeff"

Put = Callable[[Sequence[str], Iterable[Sequence[Any]]], int]
"""Writes a header and rows, and tells how many rows it were."""


def refuse_overwriting(place: str) -> None:
    """Keeps a file from being overwritten.

    Raises:
        InputRefused: There is a file.
    """
    place = guarded_place(place)
    if place != STANDARD_OUTPUT and not is_url(place) and Path(place).is_file():
        shown = without_addresses(place)
        raise InputRefused(f"{shown} is there already; choose another name, or overwrite it with --force")


def guarded_place(place: str) -> str:
    """Gives a place to write to, where a URL of this machine's files is the path that it names, and guarded like one.

    Raises:
        InputRefused: It holds a password, which would be shown with the run, or it is a chain of file systems.
    """
    if not is_url(place):
        return place
    if has_password(place):
        raise InputRefused(
            "the place of the result holds a password, which whoever sees the run could read; "
            "give it in the environment, as FSSPEC_FTP_PASSWORD for ftp://"
        )
    if "::" in place:
        raise InputRefused("the place of the result is a chain of file systems; name the last of them alone")
    return of_this_machine(place)


def place_of_result(place: str, result: str | None) -> str:
    """Gives the place of a result as it is kept: a path absolute; beside the list by default, under a name of its own.

    Args:
        place: Of the list, for ``opened_list``.
        result: As a person gave it, or None.

    Raises:
        InputRefused: Nothing can be written there safely.
    """
    if result is None and place == STANDARD_INPUT:
        return STANDARD_OUTPUT
    if result is None:
        packed = place.lower().endswith(".gz")
        given = Path((name_of(place).strip(".") or "list") if is_url(place) else place)
        stem = given.stem.removesuffix(".csv") if packed else given.stem
        ending = ".xlsx" if given.suffix.lower() == ".xlsx" else ".csv.gz" if packed else ".csv"
        result = str(given.with_name(f"{stem}.verified{ending}"))
    result = guarded_place(result)
    if result == STANDARD_OUTPUT or is_url(result):
        return result
    return str(path_of(result))


@contextmanager
def written_rows(place: str, *, excel: bool = False) -> Iterator[Put]:
    """Opens a place for rows, which appear there whole or not at all, but on standard output.

    Args:
        place: A path, ``-`` for standard output, or a URL that fsspec knows. One that ends in ``.xlsx`` becomes a
            workbook, one that ends in ``.gz`` is packed.
        excel: Adds a byte order mark, and takes the separator of the locale, as Excel opens CSV files.

    Yields:
        A function that writes them, to be called once.

    Raises:
        InputRefused: It cannot be written.
    """
    place = guarded_place(place)
    if place == STANDARD_OUTPUT:
        yield lambda header, rows: _put(sys.stdout, header, rows, excel=excel)
        return
    if is_url(place):
        with temporary_folder() as folder:
            path = folder / name_of(place)
            with _file(path, excel=excel) as put:
                yield put
            send_file(path, place)
        return
    path = Path(place).expanduser()
    if path.is_dir():
        raise InputRefused(f"{without_addresses(str(path))} is a directory; give the name of a file in it")
    try:
        with _file(path, excel=excel) as put:
            yield put
    except OSError as error:
        raise InputRefused(
            f"{without_addresses(str(path))} cannot be written ({error.strerror}); choose another place"
        ) from None


@contextmanager
def _file(path: Path, *, excel: bool) -> Iterator[Put]:
    with atomic_file(path) as file:
        raw = file.buffer
        if path.suffix.lower() == ".xlsx":
            yield lambda header, rows: write_workbook(raw, header, rows)
        elif path.suffix.lower() == ".gz":
            with (
                gzip.open(raw, "wb") as packed,
                io.TextIOWrapper(cast("BinaryIO", packed), "utf-8", newline="") as text,
            ):
                yield lambda header, rows: _put(text, header, rows, excel=excel)
        else:
            yield lambda header, rows: _put(file, header, rows, excel=excel)


def _put(file: TextIO, header: Sequence[str], rows: Iterable[Sequence[Any]], *, excel: bool) -> int:
    if excel:
        file.write(_BYTE_ORDER_MARK)
    separator = _separator() if excel else ","
    writer = csv.writer(file, delimiter=separator)
    written = -1
    for row in chain([header], rows):
        writer.writerow(row if separator == "," else map(_behind_commas, row))
        written += 1
    return written


def _behind_commas(cell: Any) -> Any:
    return harmless_behind_commas(cell) if isinstance(cell, str) else cell


def _separator() -> str:
    # Excel takes the semicolon where the comma stands in numbers.
    try:
        locale.setlocale(locale.LC_NUMERIC, "")
        decimal = locale.localeconv()["decimal_point"]
        locale.setlocale(locale.LC_NUMERIC, "C")
    except locale.Error:
        # The locale is named, but not installed.
        decimal = "," if _language() in _DECIMAL_COMMA else "."
    return ";" if decimal == "," else ","


# The languages of the Windows and Unix world that write 0,5, but for those in which countries differ.
_DECIMAL_COMMA = frozenset(
    re.findall("..", "bebgbscacsdadeeleseteufifrglhrhuiditkkltlvmknbnlnnnoplptroruskslsqsrsvtrukvi")
)


def _language() -> str:
    named = os.environ.get("LC_ALL") or os.environ.get("LC_NUMERIC") or os.environ.get("LANG") or ""
    return named.partition("_")[0].partition(".")[0].lower()


def send_file(path: Path, url: str) -> None:
    """Sends a file to a URL, in bounded memory.

    Raises:
        InputRefused: It cannot be written there.
    """
    from bouncer.files.lists.fetching import refuse_what_wraps  # noqa: PLC0415  # a result that is a file needs no httpx

    try:
        refuse_what_wraps(url)
        with path.open("rb") as file, fsspec.open(url, "wb") as remote:
            while piece := file.read(1 << 20):
                remote.write(piece)
    except InputRefused:
        raise
    except ImportError as error:
        raise InputRefused(f"{name_of(url)} cannot be written there: {error}") from None
    except Exception as error:  # noqa: BLE001  # each file system of fsspec has errors of its own
        # Not their texts, which may show what a URL holds.
        raise InputRefused(
            f"{name_of(url)} cannot be written there ({type(error).__name__}); check the address and your rights to it"
        ) from None
