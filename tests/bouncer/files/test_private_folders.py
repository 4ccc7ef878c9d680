"""Folders for files with addresses are private, and one that cannot be made is refused in one line."""

import stat
from pathlib import Path

import pytest

from bouncer.errors import InputRefused
from bouncer.files.private_folders import private_folder


def test_a_folder_that_is_made_is_its_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files in it hold addresses."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = private_folder(Path("~/exports"))
    assert folder == tmp_path / "exports"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_is_there_keeps_its_rights(tmp_path: Path) -> None:
    """Others may be meant to read it."""
    tmp_path.chmod(0o755)
    assert stat.S_IMODE(private_folder(tmp_path).stat().st_mode) == 0o755


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("~nobody-here/exports", "~nobody-here/exports begins with the home of a user who has none; choose another"),
        ("/proc/no/exports", "/proc/no/exports cannot be made (No such file or directory); choose another folder"),
    ],
)
def test_a_folder_that_cannot_be_made_is_refused(folder: str, words: str) -> None:
    """An unknown user's home ended a run with a traceback."""
    with pytest.raises(InputRefused) as refused:
        private_folder(Path(folder))
    assert str(refused.value).startswith(words)
