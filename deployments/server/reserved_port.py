"""Lets Prefect's server listen on a socket of the command that starts it, so that nobody else can take the port."""

import os
import socket
from typing import Any

import uvicorn

__all__ = ["SERVER_SOCKET", "listen_on_inherited_socket"]

SERVER_SOCKET = "BOUNCER_FLOWS_SERVER_SOCKET"
"""The variable that tells ``deployments.server.prefect_program`` the number of the socket that it inherits."""

_startup = uvicorn.Server.startup


def listen_on_inherited_socket() -> None:
    """Lets uvicorn listen on the socket that this process was given, if it was given one."""
    number = os.environ.pop(SERVER_SOCKET, None)
    if number is None:
        return
    given = socket.socket(fileno=int(number))
    # For this process alone, and not for those that it starts.
    given.set_inheritable(False)

    async def startup(self: uvicorn.Server, sockets: Any = None) -> None:
        await _startup(self, sockets or [given])

    uvicorn.Server.startup = startup  # type: ignore[method-assign]  # Prefect passes no socket on
