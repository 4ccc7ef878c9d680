"""A Prefect server behind a proxy that counts who asks what; its events and its size are read in its own database."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from deployments.server.local_server import local_server
from tests.passing_on import METHODS, PassingOn, listening

__all__ = ["Asked", "WatchedServer", "watched_server"]


_ROOM = 1.19
"""Pages of the tables and indexes of events, per byte in them, measured on a server with 7,313 events."""


@dataclass(frozen=True)
class Asked:
    """Calls, events and bytes of a server, up to a moment or between two.

    Attributes:
        calls: Requests by caller, but for heartbeats of workers.
        events: Stored events, but for heartbeats of runs and workers.
        heartbeats: Both kinds of heartbeats, Prefect's own signs of life.
        bytes: What is stored in the server's database, with the room that its pages leave.
    """

    calls: dict[str, float]
    events: float
    heartbeats: float
    bytes: float

    def less(self, other: "Asked", times: float = 1.0) -> "Asked":
        """Subtracts something else: an earlier count, or what would have come in any case."""
        return Asked(
            {who: count - times * other.calls.get(who, 0) for who, count in self.calls.items()},
            self.events - times * other.events,
            self.heartbeats - times * other.heartbeats,
            self.bytes - times * other.bytes,
        )


class WatchedServer:
    """The server.

    Args:
        origin: Where the proxy listens.
        calls: Counted by the proxy, by caller, method and path.
        api: The API, past the proxy.
        database: The server's own file.
    """

    def __init__(self, origin: str, calls: Counter[tuple[str, str]], api: httpx.Client, database: Path) -> None:
        self.api = api
        self._origin = origin
        self._calls = calls
        self._database = database

    def address(self, who: str) -> str:
        """PREFECT_API_URL for a process whose calls are counted under a name."""
        return f"{self._origin}/{who}/api"

    def asked(self) -> Asked:
        """Counts everything up to now."""
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=30)) as connection:
            events = dict(connection.execute("SELECT event, COUNT(*) FROM events GROUP BY event").fetchall())
            # Not the pages themselves: one more in a minute would be 6 MB a day.
            (stored,) = connection.execute("SELECT SUM(pgsize - unused) FROM dbstat").fetchone()
        calls, heartbeats = Counter[str](), 0
        for (who, path), count in self._calls.copy().items():
            if path.endswith("heartbeat"):
                heartbeats += count
            else:
                calls[who] += count
        signs_of_life = sum(count for event, count in events.items() if event.endswith("heartbeat"))
        return Asked(dict(calls), sum(events.values()) - signs_of_life, heartbeats + signs_of_life, stored * _ROOM)


@contextmanager
def watched_server(home: Path) -> Iterator[WatchedServer]:
    """Runs a server of its own, and the proxy, while the block does.

    Args:
        home: The folder of the server's files.
    """
    calls: Counter[tuple[str, str]] = Counter()
    with local_server(home) as server:
        behind = PassingOn(server.api_url)

        async def count(request: Request) -> Response:
            calls[request.path_params["who"], request.path_params["path"]] += 1
            return await behind.request(request, request.path_params["path"])

        async def pass_socket_on(socket: WebSocket) -> None:
            await behind.socket(socket, socket.path_params["path"])

        routes = [
            WebSocketRoute("/{who}/api/{path:path}", pass_socket_on),
            Route("/{who}/api/{path:path}", count, methods=METHODS),
        ]
        (database,) = home.rglob("prefect.db")
        with (
            listening(Starlette(routes=routes)) as origin,
            httpx.Client(base_url=server.api_url, timeout=30, trust_env=False) as api,
        ):
            yield WatchedServer(origin, calls, api, database)
