"""Files that appear under their name whole or not at all."""

import errno
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

    Only its owner can read it, whatever the umask; an older file's rights stay. Until then it has no name on Linux, and
    elsewhere one that begins with a dot. What kill -9 leaves behind of it goes when the file is written the next time.

    A pipe or a device is written into: a new file in its place would take it away from everybody else. In a folder that
    others may write to, nothing of theirs is followed, written into or replaced.

    Args:
        path: The file's name.

    Yields:
        The file, which writes line ends as they are given.

    Raises:
        OSError: The folder does not exist or cannot be written to, the disk is full, or what has the name is somebody
            else's.
    """
    path = _target(path)
    if path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8", newline="") as itself:
            # Somebody may have exchanged it since.
            _refuse_owner(os.fstat(itself.fileno()), path)
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
        found = path.lstat()
        if stat.S_ISREG(found.st_mode):
            return stat.S_IMODE(found.st_mode)
    return _PRIVATE


def _target(path: Path) -> Path:
    found = None
    with suppress(FileNotFoundError):
        found = path.lstat()
        _refuse_owner(found, path)
    if found is not None and stat.S_ISLNK(found.st_mode):
        # Through a link, the file that it leads to is replaced; the link stays.
        return path.resolve()
    # A link that somebody lays from now on is replaced, and not followed.
    return path.parent.resolve() / path.name


def _refuse_owner(found: os.stat_result, path: Path) -> None:
    ours = {os.geteuid(), 0}
    folder = path.parent.stat()
    is_shared = folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or folder.st_uid not in ours
    if is_shared and found.st_uid not in ours:
        raise OSError(errno.EACCES, "it belongs to somebody else", str(path))


def _open_unnamed(folder: Path) -> int | None:
    if not hasattr(os, "O_TMPFILE") or not _OPEN_FILES.exists():
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY, _PRIVATE)
    except OSError:
        # Not every file system has such files; where the folder is the reason, opening a named one tells.
        return None
