"""The folder of our own files, BOUNCER_FLOWS_HOME."""

import os
import stat
from pathlib import Path

from bouncer.errors import InputRefused, SettingRefused
from bouncer.files.private_folders import private_folder

__all__ = ["make_home"]


def make_home(home: Path) -> None:
    """Makes the folder, where it is not there, for its owner alone.

    Raises:
        SettingRefused: It cannot be made, or others may write to it.
    """
    try:
        private_folder(home)
        found, around = home.stat(), home.parent.stat()
    except InputRefused as refusal:
        raise SettingRefused(f"BOUNCER_FLOWS_HOME: {refusal}") from None
    # Root works with a volume of another user too, but not with what anybody may have laid in a folder such as /tmp.
    is_lent = os.geteuid() == 0 and not around.st_mode & stat.S_IWOTH
    if found.st_mode & 0o022 or (found.st_uid not in {os.geteuid(), 0} and not is_lent):
        # Whoever may write there could put a server of his own in the place of ours, and be sent the key.
        raise SettingRefused(
            f"BOUNCER_FLOWS_HOME: others may write to {home}; take that right away (chmod go-w), or name another folder"
        )
