"""Parts of Excel workbooks, looked through before the library that reads them keeps a tree of their elements."""

import zipfile
from pathlib import Path
from typing import Any
from xml.parsers import expat

from bouncer.errors import InputRefused

__all__ = ["MOST_KEPT", "refuse_heavy_parts"]

MOST_KEPT = 5_000_000
"""Rows and shared texts of a part; of other elements and their attributes, which take more memory, a tenth."""

_MOST_CHARACTERS = 500_000_000
_WEIGHT = 10
_PIECE = 1 << 20
_NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_ROW, _TEXT = f"{_NAMESPACE} row", f"{_NAMESPACE} si"


def refuse_heavy_parts(path: Path, refusal: str) -> None:
    """Counts what is kept of each part of a workbook: 2 MB can unpack to elements that take 100 GB of memory.

    Args:
        path: The workbook.
        refusal: Told to a person where it is too much, with what to do.

    Raises:
        InputRefused: It is.
    """
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            with archive.open(part) as file:
                counting = _Counting(refusal)
                try:
                    while piece := file.read(_PIECE):
                        counting.parser.Parse(piece)
                except expat.ExpatError:
                    # A picture; or the library stumbles at the same place.
                    continue


class _Counting:
    # Of a row and a shared text, the library keeps what is in them until their end, and then an empty element.

    def __init__(self, refusal: str) -> None:
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler = self._begin
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._read
        self.parser.StartDoctypeDeclHandler = self._refuse
        self._refusal = refusal
        self._kept = self._characters = 0
        self._before: list[tuple[int, int]] = []

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        if name in {_ROW, _TEXT}:
            self._before.append((self._kept, self._characters))
        self._kept += _WEIGHT * (1 + len(attributes))
        if self._kept > MOST_KEPT:
            self._refuse()

    def _end(self, name: str) -> None:
        if name == _ROW:
            self._kept, self._characters = self._before.pop()
        elif name == _TEXT:
            self._kept, _ = self._before.pop()
        else:
            return
        self._kept += 1

    def _read(self, text: str) -> None:
        self._characters += len(text)
        if self._characters > _MOST_CHARACTERS:
            self._refuse()

    def _refuse(self, *_: Any) -> None:
        # A declaration of entities, which nobody writes into a workbook, makes much of little too.
        raise InputRefused(self._refusal)
