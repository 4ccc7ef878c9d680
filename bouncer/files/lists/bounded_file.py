"""A file that takes no more than so many bytes, however small was what they are made of."""

import io
from typing import TYPE_CHECKING, BinaryIO

from bouncer.errors import InputRefused

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["BoundedFile"]


class BoundedFile(io.RawIOBase):
    """Writes to a file up to a bound.

    Args:
        file: To write to; it stays open.
        most: Bytes that it takes.
        refusal: Told to a person where there are more, with what to do.
    """

    def __init__(self, file: BinaryIO, most: int, refusal: str) -> None:
        super().__init__()
        self._file = file
        self._room = most
        self._refusal = refusal

    def writable(self) -> bool:
        """Tells that it can be written to."""
        return True

    def write(self, data: "ReadableBuffer", /) -> int:
        """Writes all of a piece.

        Raises:
            InputRefused: There is no room for it.
        """
        piece = memoryview(data)
        self._room -= piece.nbytes
        if self._room < 0:
            raise InputRefused(self._refusal)
        return self._file.write(piece)
