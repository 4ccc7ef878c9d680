"""Stops those who try one password after the other at a server that has one."""

import hmac
import time
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Hashable
from contextlib import suppress
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from deployments.protection.socket_users import user_of_caller

__all__ = ["WRONG_A_MINUTE", "SlowGuesses"]

WRONG_A_MINUTE = 10
"""How many wrong passwords a caller may send before none of his are looked at for the rest of a minute."""

_WINDOW_SECONDS = 60.0
_CALLERS_REMEMBERED = 1_000
_BAD_REQUEST = 400
_NETWORK_BITS = 64
_TRY_AGAIN_LATER = 1013
_POLICY_VIOLATION = 1008


class SlowGuesses:
    """Looks at no password of a caller who has just sent many wrong ones.

    A wrong one counts before it is passed on, so that many at once are no more than many one after another. Those
    behind a proxy are told from the programs of this machine by the name that they ask for, and users of this machine
    from one another by their sockets, so that none of them can lock our own runs out.

    Args:
        app: The server, which answers 401, or closes a WebSocket, where a password is wrong.
        auth_string: The right one, with its user: ``USER:PASSWORD``.
    """

    def __init__(self, app: ASGIApp, auth_string: str) -> None:
        self._app = app
        self._right = auth_string.encode()
        self._guesses = _Guesses(WRONG_A_MINUTE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request or WebSocket, as ASGI has it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("authorization")
        if scope["type"] == "websocket":
            await self._websocket(_caller(scope, headers), scope, receive, send)
        elif given is None or (self._guesses.is_quiet and self._is_right(given)):
            # Who sends none, as the UI does before it asks for it, guesses nothing.
            await self._app(scope, receive, send)
        else:
            await self._guess(_caller(scope, headers), given, scope, receive, send)

    async def _guess(self, caller: Hashable, given: str, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._guesses.allows(caller):
            refusal = PlainTextResponse("Too many wrong passwords", status_code=429, headers={"Retry-After": "60"})
            await refusal(scope, receive, send)
            return
        if self._is_right(given):
            await self._app(scope, receive, send)
            return
        self._guesses.count(caller)

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < _BAD_REQUEST:
                # It was for somebody else, such as a proxy: this was a page that asks for none.
                self._guesses.take_back(caller)
            await send(message)

        await self._app(scope, receive, counted)

    async def _websocket(self, caller: Hashable, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._guesses.allows(caller):
            await WebSocketClose(_TRY_AGAIN_LATER)(scope, receive, send)
            return
        is_first = True

        async def prompt() -> Message:
            # The password comes in the first message, of any number of WebSockets that were opened before.
            nonlocal is_first
            message = await receive()
            if is_first and message["type"] == "websocket.receive":
                is_first = False
                if not self._guesses.allows(caller):
                    await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
                    return {"type": "websocket.disconnect", "code": _TRY_AGAIN_LATER}
            return message

        async def counted(message: Message) -> None:
            if message["type"] == "websocket.close" and message.get("code") == _POLICY_VIOLATION:
                self._guesses.count(caller)
            await send(message)

        await self._app(scope, prompt, counted)

    def _is_right(self, given: str) -> bool:
        # As Prefect reads it.
        scheme, _, credentials = given.partition(" ")
        try:
            return scheme == "Basic" and hmac.compare_digest(b64decode(credentials.strip()), self._right)
        except ValueError:
            return False


def _caller(scope: Scope, headers: Headers) -> Hashable:
    caller, server = scope.get("client"), scope.get("server")
    address = caller[0] if caller else ""
    port = server[1] if server else None
    is_direct = headers.get("host") in {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
    user = user_of_caller(tuple(caller), tuple(server)) if is_direct and caller and server else None
    return _household(address), is_direct, user


def _household(address: str) -> str:
    # Whoever has one address of IPv6 has as many as he likes in its network.
    with suppress(ValueError):
        ip = ip_address(address.partition("%")[0])
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped is None and not ip.is_loopback:
            return str(ip_network((ip, _NETWORK_BITS), strict=False))
    return address


class _Guesses:
    # A window of a minute for each caller, of the last so many callers.

    def __init__(self, a_minute: int) -> None:
        self._a_minute = a_minute
        self._windows: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    @property
    def is_quiet(self) -> bool:
        # Whether nobody has guessed yet, which spares usual callers from being told apart.
        return not self._windows

    def allows(self, caller: Hashable) -> bool:
        begun, guesses = self._windows.get(caller, (0.0, 0))
        return guesses < self._a_minute or time.monotonic() - begun > _WINDOW_SECONDS

    def count(self, caller: Hashable) -> None:
        now = time.monotonic()
        begun, guesses = self._windows.pop(caller, (now, 0))
        self._windows[caller] = (now, 1) if now - begun > _WINDOW_SECONDS else (begun, guesses + 1)
        while len(self._windows) > _CALLERS_REMEMBERED:
            self._windows.popitem(last=False)

    def take_back(self, caller: Hashable) -> None:
        if caller in self._windows:
            begun, guesses = self._windows[caller]
            self._windows[caller] = (begun, max(0, guesses - 1))
