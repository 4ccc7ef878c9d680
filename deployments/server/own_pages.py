"""Keeps pages of other sites from a server that asks for no password.

CORS only hides answers from them: a browser still sends a POST without a body, and opens WebSockets, which know no
CORS. With either it says which site the page is of.
"""

from collections.abc import Collection

from fastapi.responses import PlainTextResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

__all__ = ["OwnPagesOnly"]

_POLICY_VIOLATION = 1008


class OwnPagesOnly:
    """Refuses what a page of another site asks; programs, which are of no site, pass.

    Args:
        app: The server.
        origins: The sites of its own: scheme, host and port.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request or WebSocket, as ASGI has it."""
        asked = scope["type"] in {"http", "websocket"}
        if not asked or self._origins.issuperset(Headers(scope=scope).getlist("origin")):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(_POLICY_VIOLATION)(scope, receive, send)
        else:
            refusal = PlainTextResponse("Pages of other sites may not use this server", status_code=403)
            await refusal(scope, receive, send)
