"""Files that appear under their name whole or not at all."""

import fcntl
import glob
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

__all__ = ["atomic_file"]

_OPEN_FILES = Path("/proc/self/fd")
_LONGEST_NAME = 200
_PRIVATE = 0o600


@contextmanager
def atomic_file(path: Path) -> Iterator[TextIO]:
    """Opens a UTF-8 text file that takes its name, and the place of an older file, when the block ends well.

    Before, only its owner can read it; on Linux it has no name, elsewhere one that begins with a dot. What kill -9
    leaves behind of it goes when the file is written the next time. The rights of an older file stay.

    A pipe or a device is written into: a new file in its place would take it away from everybody else.

    Args:
        path: The file's name.

    Yields:
        The file, which writes line ends as they are given.

    Raises:
        OSError: The folder does not exist or cannot be written to, or the disk is full.
    """
    # Through a link, the file that it leads to is replaced; the link stays.
    path = path.resolve()
    if path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8", newline="") as itself:
            yield itself
        return
    _remove_left_behind(path)
    temporary = path.with_name(f".{path.name[:_LONGEST_NAME]}.{secrets.token_hex(4)}")
    unnamed = _open_unnamed(path.parent)
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _PRIVATE) if unnamed is None else unnamed
    try:
        # Tells those who come later that somebody is still at it.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
            os.fchmod(descriptor, _rights(path))
            if unnamed is not None:
                # With a directory given, Python follows the link to the file, which has no other name.
                os.link(_OPEN_FILES / str(descriptor), temporary, src_dir_fd=descriptor)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_left_behind(path: Path) -> None:
    # The lock of a process ends with it.
    for left in path.parent.glob(f".{glob.escape(path.name[:_LONGEST_NAME])}.{'[0-9a-f]' * 8}"):
        with suppress(OSError):
            descriptor = os.open(left, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def _rights(path: Path) -> int:
    with suppress(OSError):
        return stat.S_IMODE(path.stat().st_mode)
    # There is no way to read the umask but to set it.
    umask = os.umask(0o077)
    os.umask(umask)
    return 0o666 & ~umask


def _open_unnamed(folder: Path) -> int | None:
    if not hasattr(os, "O_TMPFILE") or not _OPEN_FILES.exists():
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY, _PRIVATE)
    except OSError:
        # Not every file system has such files; where the folder is the reason, opening a named one tells.
        return None
