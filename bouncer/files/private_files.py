"""Small files of our own, which nobody else can read and no link leads away from."""

import os
from pathlib import Path

__all__ = ["read_private", "write_private"]

_MOST_BYTES = 10_000


def write_private(path: Path, text: str) -> None:
    """Writes a file that its owner alone can read, in the place of whatever had the name.

    Raises:
        OSError: It cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
    fresh.replace(path)


def read_private(path: Path) -> str:
    """Reads such a file.

    Returns:
        Its text; nothing where it is somebody else's, or no file.

    Raises:
        OSError: It cannot be read.
    """
    # A pipe would be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(descriptor).st_uid != os.geteuid():
            return ""
        return file.read(_MOST_BYTES).decode("ascii", errors="replace")
