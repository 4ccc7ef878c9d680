"""The person who gave a command, for others to read."""

import getpass
import os
import socket

__all__ = ["caller"]


def caller() -> str:
    """Names the user and the machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # In a container, under the number of a user that it does not know.
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
