"""Prefect Cloud as far as its clients see it: a proxy in front of a real server that has Cloud's rules.

It wants a key, answers below the path of an account and a workspace, has none of a server's own routes, and answers
429 beyond its rate: https://docs.prefect.io/v3/concepts/rate-limits.
"""

import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from tests.passing_on import METHODS, PassingOn, listening

__all__ = ["KEY", "Cloud", "cloud"]

KEY = "pnu_0123456789abcdef0123456789abcdef0123"
_WORKSPACE = "/api/accounts/11111111-1111-4111-8111-111111111111/workspaces/22222222-2222-4222-8222-222222222222"


@dataclass
class Cloud:
    """The proxy.

    Attributes:
        origin: Where it listens.
        refused: Calls by status that it refused itself.
        paths_refused: The paths that it does not have.
    """

    origin: str = ""
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
        Route(f"{_WORKSPACE}/{{path:path}}", gate.pass_on, methods=METHODS),
    ]
    # Nothing else is there: what is asked of another path is refused with 404.
    with listening(Starlette(routes=routes)) as seen.origin:
        yield seen


class _Gate:
    def __init__(self, seen: Cloud, server: str, calls_a_second: int) -> None:
        self._seen, self._most = seen, calls_a_second
        self._behind = PassingOn(server)
        self._last = deque[float]()

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
        return await self._behind.request(request, path)

    async def pass_socket_on(self, socket: WebSocket) -> None:
        await self._behind.socket(socket, socket.path_params["path"])

    def _refuse(self, status: int, headers: dict[str, str] | None = None) -> Response:
        self._seen.refused[status] += 1
        return Response('{"detail": "refused"}', status, headers, media_type="application/json")
