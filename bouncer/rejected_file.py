"""The list of the lines that an import rejected, next to the file that they come from."""

import csv
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from bouncer.atomic_file import atomic_file
from bouncer.csv_reading import RejectedLine

__all__ = ["RejectedFile", "rejected_file"]


class RejectedFile:
    """A CSV file with line, reason and value, which is begun with the first rejected line.

    Attributes:
        path: Where it will be; None where nothing was rejected, or no folder can be written to.
        notes: That no folder can be written to.
    """

    def __init__(self, source: Path, files: ExitStack) -> None:
        self._name = f"{source.stem}.rejected.csv"
        self._folders = (source.parent, Path.cwd())
        self._files = files
        self._file: TextIO | None = None
        self.path: Path | None = None
        self.notes: tuple[str, ...] = ()

    def add(self, lines: Iterable[RejectedLine]) -> None:
        """Writes rejected lines."""
        rows = [(line.line, line.reason, line.value) for line in lines]
        if rows and self._file is None and not self.notes:
            self._begin()
        if self._file is not None:
            csv.writer(self._file, lineterminator="\n").writerows(rows)

    def _begin(self) -> None:
        for folder in self._folders:
            path = folder / self._name
            try:
                self._file = self._files.enter_context(atomic_file(path))
            except OSError:
                continue
            self.path = path
            self._file.write("line,reason,value\n")
            return
        self.notes = (f"{self._name} could not be written here or next to the file: no permission.",)


@contextmanager
def rejected_file(source: Path) -> Iterator[RejectedFile]:
    """Lists rejected lines in ``NAME.rejected.csv``, next to the source or else in the current folder.

    Args:
        source: The file that is imported.

    Yields:
        The list; it appears, whole, when the block ends well.
    """
    with ExitStack() as files:
        yield RejectedFile(source, files)
