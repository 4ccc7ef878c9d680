"""Folders that people name for files with addresses in them."""

from pathlib import Path

from bouncer.errors import InputRefused

__all__ = ["private_folder"]


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
