"""Keeps pages of other sites from our servers.

CORS only hides answers from them: a browser still sends a POST without a body, and opens WebSockets, which know no
CORS. With either it says which site the page is of.
"""

import re
import socket
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

__all__ = ["AddressedByName", "NotFramed", "OwnNamesOnly", "OwnPagesOnly"]

_POLICY_VIOLATION = 1008
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]@/?#:\s]*)(:\d{0,5})?")
_ADDRESS_OR_PLAIN_NAME = re.compile(r"[0-9a-f]*:[0-9a-f:.]*|\d{1,3}(\.\d{1,3}){3}|[a-z0-9_-]+")
_ITSELF = "prefect-in-memory"
"""The host that Prefect's server calls itself by, without a network."""


class OwnNamesOnly(TrustedHostMiddleware):
    """Refuses what is asked under another name, as by a page whose name was made to lead to this machine.

    Args:
        app: The server.
        hosts: Its names.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        super().__init__(app, allowed_hosts=hosts, www_redirect=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request or WebSocket, as ASGI has it."""
        # By what it was called by, not by what it says: over a network this is an address, whatever the header says.
        if scope["type"] in {"http", "websocket"} and (scope.get("server") or ("",))[0] == _ITSELF:
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class AddressedByName:
    """Refuses what is asked under a name that is none of this machine's, whatever port and proxy are used.

    A page whose name was made to lead here has a name of its owner's domain. Addresses, and names without a dot, which
    nobody else can own, are asked for by people and by Prometheus.

    Args:
        app: The server.
        host: Where it listens: an address or a name.
        url: Its public address, where it has one.
    """

    def __init__(self, app: ASGIApp, host: str, url: str | None = None) -> None:
        self._app = app
        names = {host, urlsplit(url or "").hostname or "", socket.gethostname(), socket.getfqdn()}
        self._names = frozenset(name.lower().rstrip(".") for name in names if name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, as ASGI has it."""
        if scope["type"] != "http" or self._is_ours(Headers(scope=scope).get("host", "")):
            await self._app(scope, receive, send)
        else:
            await PlainTextResponse("", status_code=404)(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        name = (urlsplit(f"//{host}").hostname or "").lower().rstrip(".") if _HOST.fullmatch(host) else "."
        return name in self._names or _ADDRESS_OR_PLAIN_NAME.fullmatch(name) is not None


class NotFramed:
    """Lets no page show the server's pages inside of its own, where a click would not be what it seems.

    Args:
        app: The server.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request or WebSocket, as ASGI has it."""

        async def unframed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Frame-Options"] = "DENY"
                headers["Content-Security-Policy"] = "frame-ancestors 'none'"
            await send(message)

        await self._app(scope, receive, unframed)


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
