"""Looks for secrets and addresses where they must not be: in files, databases, processes and logs."""

import base64
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from sqlalchemy import make_url

__all__ = ["ADDRESS", "Marks", "addresses", "texts_of_sqlite"]

ADDRESS = "marked.person"
"""The beginning of every marked address."""

_DOMAINS = ("gmail.com", "outlook.com", "firm.example", "shop.example")


def addresses(count: int, *, first: int = 0) -> list[str]:
    """So many different marked addresses."""
    return [f"{ADDRESS}.{number}@{_DOMAINS[number % len(_DOMAINS)]}" for number in range(first, first + count)]


class Marks:
    """What is looked for, in each of the forms that it may take.

    Args:
        secrets: Keys and passwords.
        address: What every address has in it.
    """

    def __init__(self, *secrets: str, address: str | None = ADDRESS) -> None:
        self._marks: dict[bytes, str] = {}
        for number, secret in enumerate(secrets, start=1):
            for form, text in _forms(secret):
                self._marks[text] = f"secret {number} {form}"
        if address is not None:
            self._marks |= {text: f"an address {form}" for form, text in _forms(address)}

    @classmethod
    def of(cls, key: str, database_url: str, *more: str) -> "Marks":
        """A key, the password of a database, and the marked addresses."""
        password = make_url(database_url).password
        return cls(key, *([unquote(password)] if password else []), *more)

    def within(self, data: bytes) -> set[str]:
        """What of it is in some data."""
        return {what for mark, what in self._marks.items() if mark in data}

    def in_files(self, folder: Path, but: Iterable[Path] = ()) -> dict[str, set[str]]:
        """What of it is in the files below a folder, by their names; SQLite's are also read as what they hold."""
        allowed = {path.resolve() for path in but}
        found: dict[str, set[str]] = {}
        for path in folder.rglob("*"):
            if not path.is_file() or path.resolve() in allowed:
                continue
            what = self.within(path.read_bytes()) | self.within(str(path).encode())
            if _is_sqlite(path):
                what |= self.within("\n".join(texts_of_sqlite(path)).encode())
            if what:
                found[str(path.relative_to(folder))] = what
        return found

    def in_processes(self, processes: Iterable[int], *, environments: bool) -> dict[str, set[str]]:
        """What of it others can read of processes: their command lines, and their environments where wanted."""
        found: dict[str, set[str]] = {}
        for process in processes:
            for name in ("cmdline", "environ") if environments else ("cmdline",):
                try:
                    what = self.within(Path(f"/proc/{process}/{name}").read_bytes())
                except OSError:
                    # It has ended.
                    continue
                if what:
                    found[f"{name} of {_command_of(process)}"] = what
        return found


def texts_of_sqlite(path: Path) -> Iterator[str]:
    """Everything that stands in an SQLite database, as SQL; texts that its pages hold in pieces are whole there."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        yield from connection.iterdump()
    finally:
        connection.close()


def _forms(text: str) -> Iterator[tuple[str, bytes]]:
    plain = text.encode()
    yield "as it is", plain
    yield "in UTF-16", text.encode("utf-16-le")
    yield "in hexadecimal", plain.hex().encode()
    yield "in a URL", quote(text, safe="").encode()
    # In the middle of other bytes, base64 can begin in three places; the ends depend on the neighbours.
    for shift in range(3):
        packed = base64.b64encode(b"\0" * shift + plain)
        yield "in base64", packed[(0, 2, 3)[shift] : len(packed) // 4 * 4 - 4]


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def _command_of(process: int) -> str:
    try:
        return os.fsdecode(Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" "))[:200]
    except OSError:
        return str(process)
