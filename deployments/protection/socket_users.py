"""Tells the users of this machine from one another who call a server of ours, or listen in its place."""

import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["user_of_caller", "users_of_port"]

_SOCKETS = Path("/proc/net")
_WORD = 4
_ADDRESS, _REMOTE_ADDRESS, _STATE, _USER = 1, 2, 3, 7
_STANDS, _LISTENS = "01", "0A"


def user_of_caller(caller: tuple[str, int], server: tuple[str, int]) -> int | None:
    """Finds the number of the user whose program has opened a connection.

    As Linux lists them: https://docs.kernel.org/networking/proc_net_tcp.html

    Args:
        caller: The address and the port of the caller's end.
        server: Those of the end that was called.

    Returns:
        The number; None for a caller on another machine or who has hung up, and where the system does not tell.
    """
    try:
        ends = [_as_listed(*caller), _as_listed(*server)]
    except OSError:
        return None
    # By both ends and while it stands: a connection that its program has closed is listed as root's for a minute.
    users = (
        int(fields[_USER])
        for fields in _listed()
        if [fields[_ADDRESS], fields[_REMOTE_ADDRESS]] == ends and fields[_STATE] == _STANDS
    )
    return next(users, None)


def users_of_port(port: int) -> set[int]:
    """Finds the numbers of the users whose programs listen on a port, at whatever address.

    Returns:
        Nothing where nobody does, and where the system does not tell.
    """
    return {
        int(fields[_USER])
        for fields in _listed()
        if fields[_STATE] == _LISTENS and fields[_ADDRESS].endswith(f":{port:04X}")
    }


def _as_listed(address: str, port: int) -> str:
    packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    words = (packed[at : at + _WORD] for at in range(0, len(packed), _WORD))
    return f"{''.join(f'{int.from_bytes(word, sys.byteorder):08X}' for word in words)}:{port:04X}"


def _listed() -> Iterator[list[str]]:
    for kind in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_SOCKETS / kind).read_text().splitlines()[1:]:
                yield line.split()
