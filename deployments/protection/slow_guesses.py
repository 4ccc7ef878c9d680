"""Stops those who try one password after the other at a server that has one."""

import time
from collections import OrderedDict
from collections.abc import Hashable

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

__all__ = ["WRONG_A_MINUTE", "SlowGuesses"]

WRONG_A_MINUTE = 10
"""How many wrong passwords a caller may send before none of his are looked at for the rest of a minute."""

_WINDOW_SECONDS = 60.0
_CALLERS_REMEMBERED = 1_000
_UNAUTHORIZED = 401
_TRY_AGAIN_LATER = 1013
_POLICY_VIOLATION = 1008


class SlowGuesses:
    """Looks at no password of a caller who has just sent many wrong ones.

    Those behind a proxy are told from the programs of this machine by the name that they ask for, so that a stranger
    cannot lock our own runs out.

    Args:
        app: The server, which answers 401, or closes a WebSocket, where a password is wrong.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._guesses = _Guesses(WRONG_A_MINUTE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request or WebSocket, as ASGI has it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        caller = _caller(scope, headers)
        is_socket = scope["type"] == "websocket"
        # Who sends none, as the UI does before it asks for it, guesses nothing.
        guesses = is_socket or "authorization" in headers
        if guesses and not self._guesses.allows(caller):
            if is_socket:
                await WebSocketClose(_TRY_AGAIN_LATER)(scope, receive, send)
                return
            refusal = PlainTextResponse("Too many wrong passwords", status_code=429, headers={"Retry-After": "60"})
            await refusal(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            wrong = message["type"] == "http.response.start" and message["status"] == _UNAUTHORIZED and guesses
            closed = message["type"] == "websocket.close" and message.get("code") == _POLICY_VIOLATION
            if wrong or closed:
                self._guesses.count(caller)
            await send(message)

        await self._app(scope, receive, counted)


def _caller(scope: Scope, headers: Headers) -> Hashable:
    address = scope["client"][0] if scope.get("client") else ""
    port = scope["server"][1] if scope.get("server") else None
    is_direct = headers.get("host") in {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
    return address, is_direct


class _Guesses:
    # A window of a minute for each caller, of the last so many callers.

    def __init__(self, a_minute: int) -> None:
        self._a_minute = a_minute
        self._windows: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def allows(self, caller: Hashable) -> bool:
        begun, guesses = self._windows.get(caller, (0.0, 0))
        return guesses < self._a_minute or time.monotonic() - begun > _WINDOW_SECONDS

    def count(self, caller: Hashable) -> None:
        now = time.monotonic()
        begun, guesses = self._windows.pop(caller, (now, 0))
        self._windows[caller] = (now, 1) if now - begun > _WINDOW_SECONDS else (begun, guesses + 1)
        while len(self._windows) > _CALLERS_REMEMBERED:
            self._windows.popitem(last=False)
