"""Answers that break off: the connection under a request is closed for real, as a network would."""

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["CutBody", "NoAnswer", "SandboxProtocol", "TrickledBody"]

_TRICKLED_PIECES = 20


class SandboxProtocol(H11Protocol):
    """HTTP/1.1 that lets the application reach the connection of a request, as ``state["transport"]``."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Keeps the transport where every request of this connection finds it."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class NoAnswer(Response):
    """The connection is closed without an answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Closes the connection; see `_until_closed` for why it then waits."""
        scope["state"]["transport"].abort()
        await _until_closed(receive)


class CutBody(Response):
    """An answer whose body ends early: Content-Length promises more than is sent.

    Args:
        whole: The answer as it should have been.
        fraction: The share of its body that is sent.
    """

    def __init__(self, whole: Response, fraction: float) -> None:
        super().__init__(status_code=whole.status_code, media_type=whole.media_type)
        self.body = bytes(whole.body)[: int(len(whole.body) * fraction)]
        self.headers["content-length"] = str(max(len(whole.body), 1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends what there is, then closes the connection."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        # Unlike abort(), close() sends first what the transport has buffered.
        scope["state"]["transport"].close()
        await _until_closed(receive)


class TrickledBody(Response):
    """An answer whose body comes in small pieces.

    Args:
        whole: The answer as it should have been.
        seconds: How long the body takes.
    """

    def __init__(self, whole: Response, seconds: float) -> None:
        super().__init__(bytes(whole.body), whole.status_code, media_type=whole.media_type)
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the body, a piece at a time."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        size = max(1, -(-len(self.body) // _TRICKLED_PIECES))
        for start in range(0, len(self.body), size):
            await asyncio.sleep(self._seconds / _TRICKLED_PIECES)
            piece = bytes(self.body[start : start + size])
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _until_closed(receive: Receive) -> None:
    # uvicorn answers 500 for an application that returns before the connection is known to be lost.
    while (await receive())["type"] != "http.disconnect":
        pass
