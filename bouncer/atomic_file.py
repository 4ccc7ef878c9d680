"""Files that appear under their name whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

__all__ = ["atomic_file"]

_OPEN_FILES = Path("/proc/self/fd")


@contextmanager
def atomic_file(path: Path) -> Iterator[TextIO]:
    """Opens a UTF-8 text file that takes its name, and the place of an older file, when the block ends well.

    On Linux it has no name before, so that not even kill -9 leaves anything behind.

    Args:
        path: The file's name.

    Yields:
        The file, which writes line ends as they are given.

    Raises:
        OSError: The folder does not exist or cannot be written to, or the disk is full.
    """
    # Through a link, the file that it leads to is replaced; the link stays.
    path = path.resolve()
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}")
    unnamed = _open_unnamed(path.parent)
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666) if unnamed is None else unnamed
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
            if unnamed is not None:
                # With a directory given, Python follows the link to the file, which has no other name.
                os.link(_OPEN_FILES / str(descriptor), temporary, src_dir_fd=descriptor)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _open_unnamed(folder: Path) -> int | None:
    if not hasattr(os, "O_TMPFILE") or not _OPEN_FILES.exists():
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except OSError:
        # Not every file system has such files; where the folder is the reason, opening a named one tells.
        return None
