"""Files that are written here: lists of rejected lines beside their list, and exports in folders of our own."""

import csv
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, select

from bouncer.erasure.addresses import Wanted
from bouncer.files.atomic_file import atomic_file
from bouncer.files.lists.sources import STANDARD_INPUT, is_url, name_of
from bouncer.files.rejected_lines import REJECTED_COLUMNS, rejected_file
from bouncer.storage.tables import List
from bouncer.storage.transactions import reading

__all__ = ["ListFiles", "delete_exports", "delete_rejected", "lists_of", "take_out_of_rejected"]


_HEADER = ",".join(REJECTED_COLUMNS)


class ListFiles:
    """The files around one list.

    Args:
        source: The list, as it was recorded.
        result: Its result, where it has one.

    Attributes:
        handed_out: The list and its result, which are people's own.
        rejected: Where its rejected lines may be listed.
    """

    def __init__(self, source: str, result: str | None) -> None:
        self.handed_out = tuple(place for place in (source, result) if place not in {None, STANDARD_INPUT})
        beside = Path(name_of(source) if is_url(source) or source == STANDARD_INPUT else source)
        places = (folder / rejected_file(beside) for folder in (beside.parent, Path()))
        # The first of them, as it was written; and no file of somebody's that only has such a name.
        self.rejected = tuple(file for file in places if _is_ours(file))[:1]


@reading
def lists_of(connection: Connection, requests: Iterable[int] | None) -> list[ListFiles]:
    """The lists of some requests, or of all where there are None."""
    query = select(List.source, List.result)
    if requests is not None:
        query = query.where(List.request_id.in_(list(requests)))
    return [ListFiles(row.source, row.result) for row in connection.execute(query)]


def take_out_of_rejected(lists: Iterable[ListFiles], wanted: Wanted) -> tuple[list[str], list[str]]:
    """Takes the lines with an address out of the lists of rejected lines.

    Returns:
        The files that were changed, and those that could not be, each with the reason.
    """
    return _each(lists, lambda file: _take_out(file, wanted))


def delete_rejected(lists: Iterable[ListFiles]) -> tuple[list[str], list[str]]:
    """Deletes lists of rejected lines; returns as ``take_out_of_rejected``."""
    return _each(lists, _delete)


def delete_exports(folders: Iterable[Path], requests: Iterable[int]) -> tuple[list[str], list[str]]:
    """Deletes the exports of requests from folders of our own; returns as ``take_out_of_rejected``."""
    files = [folder / f"request-{request}.csv" for folder in folders for request in sorted(requests)]
    return _tried(dict.fromkeys(files), _delete)


def _is_ours(file: Path) -> bool:
    # A pipe would be waited for.
    if not file.is_file():
        return False
    try:
        with file.open(encoding="utf-8") as text:
            return text.readline(len(_HEADER) + 2).rstrip("\r\n") == _HEADER
    except (OSError, UnicodeError):
        return False


def _each(lists: Iterable[ListFiles], change: Callable[[Path], bool]) -> tuple[list[str], list[str]]:
    return _tried(dict.fromkeys(file.absolute() for each in lists for file in each.rejected), change)


def _tried(files: Iterable[Path], change: Callable[[Path], bool]) -> tuple[list[str], list[str]]:
    changed, refused = [], []
    for file in files:
        try:
            if change(file):
                changed.append(str(file))
        except (OSError, csv.Error, UnicodeError) as error:
            refused.append(f"{file} ({getattr(error, 'strerror', None) or 'it cannot be read'})")
    return changed, refused


def _delete(file: Path) -> bool:
    with suppress(FileNotFoundError):
        file.unlink()
        return True
    return False


def _take_out(file: Path, wanted: Wanted) -> bool:
    with file.open(encoding="utf-8", newline="") as before:
        if not any(wanted.is_in(cell) for row in csv.reader(before) for cell in row):
            return False
    with file.open(encoding="utf-8", newline="") as before, atomic_file(file) as after:
        csv.writer(after).writerows(row for row in csv.reader(before) if not any(map(wanted.is_in, row)))
    return True
