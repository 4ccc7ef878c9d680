"""Privacy of a process: only its owner can read what it leaves behind, and a crash leaves nothing."""

import os
import resource
import tempfile
from pathlib import Path

from bouncer.files.private_folders import private_folder

__all__ = ["leave_nothing_to_others", "own_temporary_folder", "use_own_temporary_folder"]

_PRIVATE_UMASK = 0o077


def leave_nothing_to_others() -> None:
    """Makes new files private and switches core dumps off, for this process and those that it starts.

    A core dump holds keys and passwords, and goes where the system says, which others may read.
    """
    os.umask(_PRIVATE_UMASK)
    # A program that the system has for dumps, such as systemd-coredump, is given them whatever the limit, but for a
    # limit of 1: https://github.com/torvalds/linux/blob/v6.12/fs/coredump.c#L600
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    limit = 0 if most == 0 else 1
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))


def use_own_temporary_folder(home: Path) -> None:
    """Lets this process, and those that it starts, put temporary files where nobody else can get at them.

    Prefect keeps the code of its runs in ``runner_storage`` in the system's temporary folder, which whoever comes first
    owns.

    Args:
        home: BOUNCER_FLOWS_HOME.
    """
    os.environ["TMPDIR"] = str(private_folder(own_temporary_folder(home)))
    tempfile.tempdir = None


def own_temporary_folder(home: Path) -> Path:
    """The folder for that, made or not.

    Args:
        home: BOUNCER_FLOWS_HOME.
    """
    return home / "tmp"
