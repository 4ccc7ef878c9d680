"""The folder of our own files, BOUNCER_FLOWS_HOME."""

from pathlib import Path

from bouncer.errors import SettingRefused

__all__ = ["make_home"]


def make_home(home: Path) -> None:
    """Makes the folder, where it is not there, for its owner alone.

    Raises:
        SettingRefused: It cannot be made.
    """
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingRefused(
            f"BOUNCER_FLOWS_HOME: the folder {home} cannot be made ({error.strerror}); name another"
        ) from None
