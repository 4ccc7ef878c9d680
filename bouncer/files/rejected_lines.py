"""The list of the lines that an import rejected, next to the file that they come from."""

import csv
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from bouncer.files.atomic_file import atomic_file
from bouncer.files.csv.cells import harmless
from bouncer.files.csv.reading import RejectedLine

__all__ = ["REJECTED_COLUMNS", "RejectedFile", "rejected_file"]

REJECTED_COLUMNS = ("line", "reason", "value")


def rejected_file(source: Path) -> str:
    """Names the list of the rejected lines of a file."""
    return f"{source.stem}.rejected.csv"


class RejectedFile:
    """``NAME.rejected.csv`` with line, reason and value: begun with the first of them, there when the block ends well.

    Args:
        source: The file that is imported. Where its folder cannot be written to, the current one is used.

    Attributes:
        path: The file; None where nothing was rejected, or it could not be written.
        notes: That it could not be written.
    """

    def __init__(self, source: Path) -> None:
        self._name = rejected_file(source)
        self._folders = (source.parent, Path())
        self._files = ExitStack()
        self._file: TextIO | None = None
        self.path: Path | None = None
        self.notes: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._files.__exit__(kind, error, trace)
        except OSError as refusal:
            self._give_up(refusal)

    def add(self, lines: Iterable[RejectedLine]) -> None:
        """Writes rejected lines."""
        rows = [(line.line, line.reason, harmless(line.value)) for line in lines]
        if rows and self._file is None and not self.notes:
            self._begin()
        if self._file is not None:
            csv.writer(self._file).writerows(rows)

    def _begin(self) -> None:
        for folder in self._folders:
            try:
                self._file = self._files.enter_context(atomic_file(folder / self._name))
            except OSError as refusal:
                self._give_up(refusal)
            else:
                csv.writer(self._file).writerow(REJECTED_COLUMNS)
                self.path, self.notes = folder / self._name, ()
                return

    def _give_up(self, refusal: OSError) -> None:
        self.path, self.notes = None, (f"{self._name} could not be written ({refusal.strerror}).",)
