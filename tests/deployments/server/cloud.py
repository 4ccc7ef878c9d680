"""Prefect Cloud as far as its clients see it: a proxy in front of a real server that has Cloud's rules.

It wants a key, answers below the path of an account and a workspace, has none of a server's own routes, and answers
429 beyond its rate: https://docs.prefect.io/v3/concepts/rate-limits.
"""

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx
import uvicorn
import websockets
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

__all__ = ["KEY", "Cloud", "cloud"]

KEY = "pnu_0123456789abcdef0123456789abcdef0123"
_WORKSPACE = "/api/accounts/11111111-1111-4111-8111-111111111111/workspaces/22222222-2222-4222-8222-222222222222"
_HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding", "content-encoding"}
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@dataclass
class Cloud:
    """The proxy.

    Attributes:
        origin: Where it listens.
        asked: Calls by method and first part of the path.
        refused: Calls by status that it refused itself.
        paths_refused: The paths that it does not have.
    """

    origin: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    paths_refused: set[str] = field(default_factory=set)

    @property
    def environment(self) -> dict[str, str]:
        """What makes Prefect, and us, use it as Prefect Cloud."""
        return {
            "PREFECT_API_URL": f"{self.origin}{_WORKSPACE}",
            "PREFECT_CLOUD_API_URL": f"{self.origin}/api",
            "PREFECT_API_KEY": KEY,
        }


@contextmanager
def cloud(server: str, calls_a_second: int) -> Iterator[Cloud]:
    """Runs the proxy in a thread.

    Args:
        server: The API of the server behind it.
        calls_a_second: Beyond so many it answers 429, with ``Retry-After``.
    """
    seen = Cloud()
    gate = _Gate(seen, server, calls_a_second)
    routes = [
        WebSocketRoute(f"{_WORKSPACE}/{{path:path}}", gate.pass_socket_on),
        Route(f"{_WORKSPACE}/{{path:path}}", gate.pass_on, methods=_METHODS),
    ]
    # Nothing else is there: what is asked of another path is refused with 404.
    listening = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), "127.0.0.1", 0, log_level="warning"))
    thread = threading.Thread(target=listening.run, name="cloud")
    thread.start()
    while not listening.started:
        time.sleep(0.01)
    seen.origin = f"http://127.0.0.1:{listening.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield seen
    finally:
        listening.should_exit = True
        thread.join(20)


class _Gate:
    def __init__(self, seen: Cloud, server: str, calls_a_second: int) -> None:
        self._seen, self._server, self._most = seen, server, calls_a_second
        self._last = deque[float]()
        self._client = httpx.AsyncClient(timeout=60, trust_env=False)

    async def pass_on(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return self._refuse(401)
        path = request.path_params["path"]
        if path.split("/")[0] in {"admin", "hello", "health", "version", "ready"}:
            self._seen.paths_refused.add(path)
            return self._refuse(404)
        now = time.monotonic()
        while self._last and self._last[0] < now - 1:
            self._last.popleft()
        if len(self._last) >= self._most:
            return self._refuse(429, {"Retry-After": "1"})
        self._last.append(now)
        self._seen.asked[f"{request.method} {path.split('/')[0]}"] += 1
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

    async def pass_socket_on(self, socket: WebSocket) -> None:
        address = f"{self._server.replace('http', 'ws', 1)}/{socket.path_params['path']}"
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

    def _refuse(self, status: int, headers: dict[str, str] | None = None) -> Response:
        self._seen.refused[status] += 1
        return Response('{"detail": "refused"}', status, headers, media_type="application/json")
