"""A small HTTP server in a thread of its own, which strangers can neither fill with silence nor hold up."""

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["MOST_SILENT", "REQUEST_SECONDS", "listening_socket", "serving"]

REQUEST_SECONDS = 10.0
"""Seconds that the head of a request may take."""

MOST_SILENT = 50
"""The most callers that are connected without a request; beyond that the one that waits longest goes."""

_MOST_CONNECTIONS = 100
_STOP_SECONDS = 10.0


@contextmanager
def serving(app: ASGIApp, listening: socket.socket, *, name: str) -> Iterator[None]:
    """Serves an application while the block runs, one request a connection.

    Args:
        app: The application.
        listening: The socket, which is closed at the end.
        name: Of the thread.
    """
    server = uvicorn.Server(
        uvicorn.Config(
            _one_request_a_connection(app),
            http=_prompt_callers_only(),
            ws="none",
            lifespan="off",
            access_log=False,
            server_header=False,
            log_config=None,
            # It warns of each request that is none, and so of whatever strangers send.
            log_level="error",
            limit_concurrency=_MOST_CONNECTIONS,
            # Nothing depends on who calls, so nobody needs to be believed about it.
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
    )
    # access_log=False only takes its handlers away, and whoever gives it another would have the tokens in a log.
    logging.getLogger("uvicorn.access").disabled = True
    # In a thread of its own: signals stay with whoever has the main one.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(_STOP_SECONDS)
        listening.close()


def _prompt_callers_only() -> type[H11Protocol]:
    silent: dict[H11Protocol, asyncio.TimerHandle] = {}

    class PromptCallersOnly(H11Protocol):
        # uvicorn itself waits for the head of a request for ever.

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)  # type: ignore[arg-type]  # a socket's
            silent[self] = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)
            if len(silent) > MOST_SILENT:
                # Whoever has something to say says it at once, so this is not him.
                oldest = next(iter(silent))
                silent.pop(oldest).cancel()
                # Now: it is told of its end only after all that call at this moment have been counted.
                oldest.connections.discard(oldest)
                oldest.transport.abort()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None:
                self._has_spoken()

        def send_400_response(self, msg: str) -> None:
            super().send_400_response(msg)
            if self.cycle is not None:
                # It began with the head, and what it has to say nobody hears any more.
                self.cycle.disconnected = True
                self.cycle.message_event.set()

        def connection_lost(self, exc: Exception | None) -> None:
            self._has_spoken()
            super().connection_lost(exc)

        def _has_spoken(self) -> None:
            if timer := silent.pop(self, None):
                timer.cancel()

    return PromptCallersOnly


def _one_request_a_connection(app: ASGIApp) -> ASGIApp:
    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        async def last(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await app(scope, receive, last)

    return served


def listening_socket(host: str, port: int) -> socket.socket:
    """Opens a socket that listens.

    Raises:
        OSError: It cannot be had.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind, protocol)
    # Connections that are being forgotten do not count.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        # Here, since two sockets that do not listen yet may share a port.
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening
