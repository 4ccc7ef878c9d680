"""Folders for files with addresses in them: those that people name, and temporary ones."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bouncer.errors import InputRefused

__all__ = ["forget_temporary_folders", "private_folder", "temporary_folder"]

# Of its own, since people have folders of their own that begin with the name of the project.
_TEMPORARY = ".bouncer-flows-temporary-"
_YOUNG_SECONDS = 60.0


def private_folder(folder: Path) -> Path:
    """Makes a folder where it is missing; only its owner can read one that is made here.

    Args:
        folder: As a person wrote it; a home may be written as ``~``.

    Returns:
        The same folder, without ``~``.

    Raises:
        InputRefused: It cannot be made.
    """
    try:
        expanded = folder.expanduser()
        _make(expanded)
    except RuntimeError:
        raise InputRefused(f"{folder} begins with the home of a user who has none; choose another folder") from None
    except OSError as error:
        raise InputRefused(f"{folder} cannot be made ({error.strerror}); choose another folder") from None
    return expanded


def _make(folder: Path) -> None:
    # Path.mkdir gives its mode to the last folder only, and to those above it what the umask leaves.
    if not folder.parent.exists():
        _make(folder.parent)
    folder.mkdir(exist_ok=True, mode=0o700)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Makes a folder for temporary files, which goes at the end; after kill -9, when the next one is made."""
    forget_temporary_folders(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY) as folder:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            # Tells those who come later that somebody is still at it.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield Path(folder)
        finally:
            os.close(descriptor)


def forget_temporary_folders(within: Path) -> None:
    """Deletes the temporary folders that processes of this user have left behind which were killed.

    Args:
        within: Where they were made.
    """
    for left in within.glob(f"{_TEMPORARY}*"):
        with suppress(OSError):
            descriptor = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                found = os.fstat(descriptor)
                # One that was made a moment ago may not have its lock yet.
                if found.st_uid == os.geteuid() and time.time() - found.st_mtime > _YOUNG_SECONDS:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left)
            finally:
                os.close(descriptor)
