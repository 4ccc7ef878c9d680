"""Where our processes stand and import from: never the folder of the user, which may hold files of strangers.

Python puts the current folder first among those that it imports from (``-m``), and Prefect reads ``.env``,
``prefect.toml`` and ``pyproject.toml`` there, which name databases and the classes of log handlers.
"""

import contextlib
import os
import sys
from pathlib import Path

from bouncer.files.private_folders import private_folder

__all__ = ["distrust_current_folder", "load_prefect_settings", "python_module", "working_folder"]

_NOBODYS = "/"
"""Only root can put files there."""


def python_module(name: str) -> list[str]:
    """The command that runs a module of ours, which imports nothing from the folder that it is started in."""
    return [sys.executable, "-P", "-m", name]


def distrust_current_folder() -> None:
    """Lets no Python that this process starts, or that Prefect starts for it, import from the current folder."""
    os.environ["PYTHONSAFEPATH"] = "1"


def load_prefect_settings() -> None:
    """Imports Prefect, which reads its settings once: from the environment and its home, not from the current folder.

    Must come before the first import of Prefect.
    """
    with contextlib.chdir(_NOBODYS):
        from prefect.context import root_settings_context

        root_settings_context()


def working_folder(home: Path) -> Path:
    """Makes the folder that processes of a home stand in.

    Args:
        home: BOUNCER_FLOWS_HOME.

    Raises:
        InputRefused: It cannot be made.
    """
    return private_folder(home / "work")
