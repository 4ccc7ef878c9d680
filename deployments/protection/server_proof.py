"""Proof that the listener on a port is the local server of this home, asked for before anything else is sent to it.

Another user of the machine may listen where the server did. The server and the commands of a home share a secret, which
is new with each start and lies in a folder that nobody else can read. A command sends a number that it has just drawn;
the listener answers with its HMAC. The address and the port at which it was reached are part of it, so that nobody can
have the true server answer for him, from another port or from another address of this machine.
"""

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from bouncer.api.tls import tls_of
from bouncer.files.private_files import read_private, write_private

__all__ = ["FILE", "ProvesItself", "new_secret", "proves_itself"]

FILE = "server.secret"
"""The secret, in the folder of the home."""

_PATH = "/bouncer-flows/proof"
_CHALLENGE = re.compile(r"[0-9a-f]{64}")
_LONGEST_ANSWER = 1_000


def new_secret(home: Path) -> None:
    """Draws the secret of the next start."""
    write_private(home / FILE, secrets.token_hex(32))


def proves_itself(home: Path, origin: str, *, seconds: float) -> bool:
    """Tells whether the listener knows the secret of this home.

    Args:
        home: The folder of the server's files.
        origin: Where it answers.
        seconds: How long it may take to answer.
    """
    challenge = secrets.token_hex(32)
    try:
        secret = read_private(home / FILE)
        with httpx.stream(
            "GET",
            f"{origin}{_PATH}",
            params={"challenge": challenge},
            timeout=seconds,
            trust_env=False,
            verify=tls_of(origin),
        ) as answer:
            # The address that was connected to: a name may lead to several.
            reached = answer.extensions["network_stream"].get_extra_info("server_addr")
            said = next(answer.iter_raw(_LONGEST_ANSWER), b"")
    except (OSError, httpx.HTTPError):
        return False
    return bool(secret) and hmac.compare_digest(said, _proof(secret, reached, challenge).encode())


class ProvesItself:
    """Answers the question for the proof, and leaves everything else to the server.

    Args:
        app: The server.
        secret: That of this start.
    """

    def __init__(self, app: ASGIApp, secret: str) -> None:
        self._app = app
        self._secret = secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request or WebSocket, as ASGI has it."""
        if scope["type"] != "http" or scope["path"] != _PATH:
            await self._app(scope, receive, send)
            return
        challenge = parse_qs(scope["query_string"].decode("latin-1")[:200]).get("challenge", [""])[0]
        if not _CHALLENGE.fullmatch(challenge):
            await PlainTextResponse("Not Found", status_code=404)(scope, receive, send)
            return
        # The socket's own address: what a header says may be anything.
        await PlainTextResponse(_proof(self._secret, scope["server"], challenge))(scope, receive, send)


def _proof(secret: str, reached: Sequence[Any], challenge: str) -> str:
    address = ipaddress.ip_address(str(reached[0]).partition("%")[0])
    # A server that listens on all addresses calls those of IPv4 so.
    address = getattr(address, "ipv4_mapped", None) or address
    return hmac.new(secret.encode(), f"{address} {reached[1]} {challenge}".encode(), hashlib.sha256).hexdigest()
