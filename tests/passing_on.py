"""A proxy in a thread that passes requests and WebSockets on to a Prefect server behind it."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import uvicorn
import websockets
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

__all__ = ["METHODS", "PassingOn", "listening"]

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding", "content-encoding"}


class PassingOn:
    """Passes calls on.

    Args:
        server: The API of the server behind it.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        # A connection that is kept may be closed by the server just as it is used again.
        self._client = httpx.AsyncClient(timeout=60, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))

    async def request(self, request: Request, path: str) -> Response:
        """Passes a request on, and its answer back."""
        headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
        answer = await self._client.request(
            request.method,
            f"{self._server}/{path}",
            params=httpx.QueryParams(request.url.query),
            content=await request.body(),
            headers={**headers, "accept-encoding": "identity"},
        )
        kept = {name: value for name, value in answer.headers.items() if name not in _HOP_BY_HOP}
        return Response(answer.content, answer.status_code, kept)

    async def socket(self, socket: WebSocket, path: str) -> None:
        """Passes the messages of a WebSocket on, in both directions, until one side ends it."""
        address = f"{self._server.replace('http', 'ws', 1)}/{path}"
        subprotocols = [websockets.Subprotocol(name) for name in socket.scope["subprotocols"]]
        async with websockets.connect(address, subprotocols=subprotocols or None) as behind:
            await socket.accept(subprotocol=behind.subprotocol)

            async def forth() -> None:
                with suppress(WebSocketDisconnect, websockets.ConnectionClosed):
                    while True:
                        await behind.send(await socket.receive_text())

            async def back() -> None:
                with suppress(websockets.ConnectionClosed, RuntimeError):
                    async for message in behind:
                        await socket.send_text(str(message))

            await asyncio.wait(
                [asyncio.create_task(forth()), asyncio.create_task(back())], return_when=asyncio.FIRST_COMPLETED
            )


@contextmanager
def listening(application: ASGIApp) -> Iterator[str]:
    """Serves an application on a free port while the block runs.

    Yields:
        Where it listens: scheme, host and port.
    """
    server = uvicorn.Server(uvicorn.Config(application, "127.0.0.1", 0, log_level="warning"))
    thread = threading.Thread(target=server.run, name="proxy")
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
