"""The sandbox as an application and as a server of its own."""

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable

import orjson
import uvicorn
from fastapi import FastAPI

from sandbox.http import control, routes
from sandbox.http.transport import SandboxProtocol
from sandbox.service.callbacks import Callbacks
from sandbox.service.service import Service
from sandbox.settings import SandboxSettings

__all__ = ["build_server", "serve_sandbox"]


class _AnnouncingServer(uvicorn.Server):
    """A server that tells on standard output where it listens, once it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host = self.config.host
        port = self.servers[0].sockets[0].getsockname()[1]
        sys.stdout.buffer.write(orjson.dumps({"url": f"http://{host}:{port}/v1.1", "port": port}) + b"\n")
        sys.stdout.flush()


def build_server(
    settings: SandboxSettings, host: str, port: int, clock: Callable[[], float] = time.time
) -> uvicorn.Server:
    """Makes a server that does not run yet.

    Args:
        settings: How the sandbox behaves.
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        clock: Tells the time in epoch seconds.
    """
    app = FastAPI(title="A stand-in for the Bouncer API", openapi_url=None)
    app.state.service = Service(settings, clock)
    app.state.callbacks = Callbacks(app.state.service)
    app.include_router(control.router)
    app.include_router(routes.router, prefix="/v1.1")
    return _AnnouncingServer(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http=SandboxProtocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_level="warning",
            # Longer than clients keep connections: one closed under a request looks like a lost answer.
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
    )


def serve_sandbox(settings: SandboxSettings, host: str, port: int, *, until_input_ends: bool = False) -> None:
    """Serves the sandbox until the process is told to stop.

    Prints ``{"url": …, "port": …}`` in one line on standard output once it listens.

    Args:
        settings: How the sandbox behaves.
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        until_input_ends: Whether the end of standard input stops it too: a pipe from whoever started it ends with that
            process, however it died.
    """
    server = build_server(settings, host, port)
    if until_input_ends:
        threading.Thread(target=_stop_at_end_of_input, args=(server,), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        server.run()


def _stop_at_end_of_input(server: uvicorn.Server) -> None:
    sys.stdin.buffer.read()
    server.should_exit = True
