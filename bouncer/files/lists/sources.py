"""Opens lists wherever they are: files, standard input, URLs; packed by gzip, or as Excel workbooks."""

import csv
import gzip
import io
import os
import shutil
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from bouncer.errors import InputRefused
from bouncer.files.csv.reading import refuse_no_file
from bouncer.files.lists.bounded_file import BoundedFile
from bouncer.files.lists.workbooks import is_workbook, rows_of, unpacked_bytes
from bouncer.files.private_folders import temporary_folder
from bouncer.safe_urls import without_secrets

__all__ = [
    "MOST_UNPACKED",
    "STANDARD_INPUT",
    "ListSource",
    "is_url",
    "name_of",
    "of_this_machine",
    "opened_list",
    "path_of",
    "refuse_missing",
]

STANDARD_INPUT = "-"
MOST_UNPACKED = 2_000_000_000
"""Bytes that a list may have where it is fetched, piped or unpacked: ten million addresses are 300 MB."""

_MOST_TIMES = 50
"""Bytes that a byte of a packed file on this machine may unpack to, however many they are."""
_PIECE = 1 << 20
_GZIP = b"\x1f\x8b"
_NAME_OF_STANDARD_INPUT = "standard input"


@dataclass(frozen=True)
class ListSource:
    """A list that can be read.

    Attributes:
        given: The place as a person gave it: a path made absolute, a URL without what is secret in it.
        name: Its name for people.
        path: A file on this machine with its text; a temporary one where the list is elsewhere, or packed.
        digest: Of its text, by which the same list is known again.
    """

    given: str
    name: str
    path: Path
    digest: str


@dataclass
class _Opened:
    # Two imports of one list in one process have one file, which goes when both have ended.
    source: ListSource
    files: ExitStack
    users: int = 0


_open: dict[str, _Opened] = {}
_opening = threading.Lock()


def is_url(place: str) -> bool:
    """Tells a URL from a path."""
    return "://" in place


def of_this_machine(place: str) -> str:
    """Gives the path that a URL of this machine's files names, to be guarded like one; else the place itself."""
    system, _, path = place.partition("://")
    return path if is_url(place) and system.lower() in {"file", "local"} and "::" not in place else place


def name_of(place: str) -> str:
    """The name that people know a list by: the last part of its place."""
    if place == STANDARD_INPUT:
        return _NAME_OF_STANDARD_INPUT
    return without_secrets(place).rstrip("/").rpartition("/")[2] if is_url(place) else Path(place).name


def path_of(place: str) -> Path:
    """The absolute path of a place on this machine; that of a home which nobody has is taken as it is written."""
    return Path(os.path.expanduser(place)).absolute()  # noqa: PTH111  # Path's raises for a user who is not


def refuse_missing(place: str) -> None:
    """Refuses a list on this machine that is not there; nothing is asked about one that is elsewhere, or is read.

    Raises:
        InputRefused: There is no such file.
    """
    if place != STANDARD_INPUT and not is_url(place):
        refuse_no_file(path_of(place))


@contextmanager
def opened_list(place: str) -> Iterator[ListSource]:
    """Gives a list as a file of text on this machine, for as long as the block lasts.

    Opened again within the block, the same place gives the same text: it is fetched once, and standard input is there
    once only. So does ``ListSource.given``, which runs are told instead of a URL with secrets.

    Args:
        place: A path, ``-`` for standard input, or a URL that fsspec knows, such as ``s3://…`` and ``https://…``.

    Raises:
        InputRefused: It cannot be read.
    """
    with _opening:
        opened = _open.get(place)
        if opened is None:
            with ExitStack() as files:
                folder = files.enter_context(temporary_folder())
                source = _source_of(place, folder)
                opened = _Opened(source, files.pop_all())
                for known_by in (place, source.given):
                    _open.setdefault(known_by, opened)
        opened.users += 1
    try:
        yield opened.source
    finally:
        with _opening:
            opened.users -= 1
            if opened.users == 0:
                for known_by in [each for each, one in _open.items() if one is opened]:
                    del _open[known_by]
                opened.files.close()


def _source_of(place: str, folder: Path) -> ListSource:
    name = name_of(place)
    local = of_this_machine(place)
    if local != place and not path_of(local).exists():
        # By its name: what stands behind a question mark may be secret.
        raise InputRefused(f"{name} cannot be fetched: there is no such file; check its address")
    place = local
    given, path, most = place, folder / "fetched", MOST_UNPACKED
    if place == STANDARD_INPUT or is_url(place):
        with path.open("wb") as file:
            target = BoundedFile(
                file,
                most,
                f"{name} has more than {most // 10**6:,} MB; save it to a file on this machine, and give that",
            )
            if is_url(place):
                from bouncer.files.lists.fetching import fetch

                fetch(place, name, target)
                given = without_secrets(place)
            else:
                shutil.copyfileobj(sys.stdin.buffer, target, _PIECE)
    else:
        path = path_of(place)
        given = str(path)
        refuse_no_file(path)
        most = max(most, path.stat().st_size * _MOST_TIMES)
    path = _unpacked(path, name, folder, most)
    return ListSource(given, name, path, _digest(path))


def _unpacked(path: Path, name: str, folder: Path, most: int) -> Path:
    try:
        with path.open("rb") as file:
            head = file.read(4)
        if head.startswith(_GZIP):
            packed, path = path, folder / "unpacked"
            with gzip.open(packed) as source, path.open("wb") as file:
                refusal = f"{name} unpacks to far more than a list; unpack it yourself if it is one"
                shutil.copyfileobj(source, BoundedFile(file, most, refusal), _PIECE)
        if is_workbook(path):
            refusal = f"{name} unpacks to far more than a list; save its sheet as CSV"
            if unpacked_bytes(path) > MOST_UNPACKED:
                raise InputRefused(refusal)
            workbook, path = path, folder / "sheet.csv"
            with path.open("wb") as file:
                # A text is in a workbook once, however many cells have it.
                sheet = io.BufferedWriter(BoundedFile(file, MOST_UNPACKED, refusal), _PIECE)
                with io.TextIOWrapper(sheet, "utf-8", newline="") as text:
                    csv.writer(text).writerows(rows_of(workbook, name))
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputRefused(f"{name} is compressed, but not whole; make or fetch it again") from None
    except OSError as error:
        raise InputRefused(f"{name} cannot be read ({error.strerror}); check its permissions") from None
    return path


def _digest(path: Path) -> str:
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
