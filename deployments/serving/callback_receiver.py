"""The receiver of callbacks: a small ASGI application that takes Bouncer's calls and tells strangers nothing.

A call is only written down in the batch's row; the run that has the batch sees it there, in whichever process it is.
"""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from bouncer.batches import callbacks
from bouncer.errors import DatabaseUnavailable, SettingRefused
from deployments.protection.http_server import listening_socket, serving
from deployments.protection.own_pages import AddressedByName
from deployments.protection.socket_users import users_of_port
from deployments.settings import Settings
from deployments.terminal.console import say

__all__ = ["CallbackReceiver", "receive_until_stopped", "receiving_callbacks"]

_log = logging.getLogger(__name__)

LOOKS_PER_SECOND = 20
"""How often a token is looked up in the database; beyond that among those of the last batches, read once a second."""

_LAST_BATCHES = 1_000
_BODY_SECONDS = 10.0


class CallbackReceiver:
    """The application. Whoever does not name a batch's token gets 404, whatever else is wrong.

    Args:
        engine: Of the contacts database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._looks = 0
        self._second = 0.0
        self._last: frozenset[str] = frozenset()
        self._reading = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one call."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        status = await self._status(request)
        await Response(status_code=status)(scope, receive, send)

    async def _status(self, request: Request) -> int:
        # Not request.url, which is read from the header Host too, and cannot be where that is odd.
        token = str(request.scope["path"]).rpartition("/")[2]
        if request.method not in {"GET", "POST", "PUT"} or not callbacks.is_token(token):
            return 404
        try:
            # Before the body is read: strangers are not listened to.
            if not await self._is_known(token):
                return 404
            ids = callbacks.ids_in(await _body(request), request.scope["query_string"].decode("latin-1"))
            # Once, with what it names: a run that saw the call without its ids would think that it names none.
            await asyncio.to_thread(callbacks.note, self._engine, token, ids)
        except (DatabaseUnavailable, DBAPIError) as error:
            _log.warning("A callback could not be written down: %s", type(error).__name__)
            # Whoever calls may try again; a poll finds out in any case.
            return 503
        return 200

    async def _is_known(self, token: str) -> bool:
        # A stranger who guesses, perhaps behind the same proxy, must cost little, and must not silence Bouncer.
        async with self._reading:
            now = time.monotonic()
            if now - self._second >= 1:
                self._second, self._looks = now, 0
            self._looks += 1
            if self._looks == LOOKS_PER_SECOND + 1:
                self._last = await asyncio.to_thread(callbacks.last_tokens, self._engine, _LAST_BATCHES)
            if self._looks > LOOKS_PER_SECOND:
                return token in self._last
        return await asyncio.to_thread(callbacks.is_known, self._engine, token)


async def _body(request: Request) -> bytes:
    body = bytearray()
    # Whatever becomes of the body, there was a call, and the next poll may come at once.
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > callbacks.MOST_BYTES:
                    return b""
    return bytes(body)


@contextmanager
def receiving_callbacks(settings: Settings, engine: Engine) -> Iterator[int | None]:
    """Receives callbacks while the block runs, where CALLBACK_PORT asks for it.

    Args:
        settings: The environment.
        engine: Of the contacts database.

    Yields:
        The port; None where the receiver is off, or another process of this machine receives there already.

    Raises:
        SettingRefused: The address cannot be listened on, or another user of the machine does.
    """
    if settings.callback_port == 0:
        yield None
        return
    try:
        listening = listening_socket(settings.callback_host, settings.callback_port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            _refuse_strangers(settings)
            yield None
            return
        raise SettingRefused(
            f"CALLBACK_HOST {settings.callback_host}, port {settings.callback_port} cannot be listened on: "
            f"{error.strerror}"
        ) from None
    app: ASGIApp = CallbackReceiver(engine)
    # The name of the block's URL is known only where the environment has it too; a token is asked for in any case.
    if settings.callback_url is not None:
        app = AddressedByName(app, settings.callback_host, settings.callback_url)
    with serving(app, listening, name="callback-receiver"):
        yield settings.callback_port


def _refuse_strangers(settings: Settings) -> None:
    # He would hear Bouncer's calls, with the tokens, and nobody would notice that we do not.
    if users_of_port(settings.callback_port) - {os.geteuid(), 0}:
        raise SettingRefused(
            f"CALLBACK_PORT: another user of this machine listens on {settings.callback_port}, and would hear the "
            "calls of Bouncer; name another port, to the proxy too"
        )


def receive_until_stopped(settings: Settings, engine: Engine) -> None:
    """Receives callbacks until SIGINT or SIGTERM, for runs on workers, none of which lives long enough to do so.

    Args:
        settings: The environment.
        engine: Of the contacts database.

    Raises:
        SettingRefused: There is no port, or it cannot be listened on.
    """
    if settings.callback_port == 0:
        raise SettingRefused("CALLBACK_PORT is not set; it is the port that callbacks are received at")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with receiving_callbacks(settings, engine) as port:
        if port is None:
            raise SettingRefused(f"CALLBACK_PORT: {settings.callback_port} is taken by another process; name another")
        say(f"callbacks are received at {settings.callback_host}, port {port}; Ctrl-C ends it")
        stopped.wait()
