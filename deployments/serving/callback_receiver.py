"""The receiver of callbacks: a small ASGI application that takes Bouncer's calls and tells strangers nothing.

A call is only written down in the batch's row; the run that has the batch sees it there, in whichever process it is.
"""

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bouncer.batches import callbacks
from bouncer.errors import DatabaseUnavailable, SettingRefused
from bouncer.storage.engine import read, write
from deployments.settings import Settings
from deployments.terminal.console import say

__all__ = ["CallbackReceiver", "receive_until_stopped", "receiving_callbacks"]

_log = logging.getLogger(__name__)

GUESSES_PER_MINUTE = 30
"""Wrong tokens that one caller may try in a minute before the receiver stops listening to it."""

_CALLERS_REMEMBERED = 1_000
_BODY_SECONDS = 10.0
_STOP_SECONDS = 10.0


class CallbackReceiver:
    """The application. Whoever does not name a batch's token gets 404, whatever else is wrong.

    Args:
        engine: Of the contacts database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._guesses = _Guesses()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one call."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        status = await self._status(request)
        await Response(status_code=status)(scope, receive, send)

    async def _status(self, request: Request) -> int:
        token = request.url.path.rpartition("/")[2]
        caller = request.client.host if request.client is not None else ""
        if request.method not in {"GET", "POST", "PUT"} or not callbacks.is_token(token):
            return 404
        if not self._guesses.allows(caller):
            return 404
        try:
            # Before the body is read: strangers are not listened to.
            if not await asyncio.to_thread(read, self._engine, callbacks.is_known, token):
                self._guesses.count(caller)
                return 404
            ids = callbacks.ids_in(await _body(request), request.url.query)
            # Once, with what it names: a run that saw the call without its ids would think that it names none.
            await asyncio.to_thread(write, self._engine, callbacks.note, token, ids)
        except (DatabaseUnavailable, DBAPIError) as error:
            _log.warning("A callback could not be written down: %s", type(error).__name__)
            # Whoever calls may try again; a poll finds out in any case.
            return 503
        return 200


class _Guesses:
    # A window of a minute for each caller, of the last so many callers.

    def __init__(self) -> None:
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def allows(self, caller: str) -> bool:
        begun, guesses = self._windows.get(caller, (0.0, 0))
        return guesses < GUESSES_PER_MINUTE or time.monotonic() - begun > 60

    def count(self, caller: str) -> None:
        now = time.monotonic()
        begun, guesses = self._windows.pop(caller, (now, 0))
        self._windows[caller] = (now, 1) if now - begun > 60 else (begun, guesses + 1)
        while len(self._windows) > _CALLERS_REMEMBERED:
            self._windows.popitem(last=False)


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
        SettingRefused: The address cannot be listened on.
    """
    listening = _listening(settings.callback_host, settings.callback_port) if settings.callback_port else None
    if listening is None:
        yield None
        return
    server = uvicorn.Server(
        uvicorn.Config(
            CallbackReceiver(engine),
            ws="none",
            lifespan="off",
            access_log=False,
            server_header=False,
            log_config=None,
            limit_concurrency=100,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
        )
    )
    # access_log=False only takes its handlers away, and whoever gives it another would have the tokens in a log.
    logging.getLogger("uvicorn.access").disabled = True
    # In a thread of its own: signals stay with whoever has the main one.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="callback-receiver", daemon=True)
    thread.start()
    try:
        yield settings.callback_port
    finally:
        server.should_exit = True
        thread.join(_STOP_SECONDS)
        listening.close()


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


def _listening(host: str, port: int) -> socket.socket | None:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            # Here, since two sockets that do not listen yet may share a port.
            listening.listen()
        except OSError:
            listening.close()
            raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return None
        raise SettingRefused(f"CALLBACK_HOST {host}, port {port} cannot be listened on: {error.strerror}") from None
    return listening
