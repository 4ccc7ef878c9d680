"""Runs a stand-in for the Bouncer service."""

import socket
from typing import Annotated

from cyclopts import Parameter, validators

from bouncer.api.base_url import OPENS_NOTHING
from bouncer.errors import SettingRefused
from deployments.terminal.console import say

__all__ = ["sandbox"]


def sandbox(
    *,
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65_535))] = 8025,
    parallel: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 1,
) -> int:
    """Runs a stand-in for the Bouncer service, until it is stopped; for trying things out at no cost.

    Args:
        port: The port to listen on; 0 takes a free one.
        parallel: Number of batches of an account that run side by side; Bouncer documents one after another.
    """
    from sandbox import SandboxSettings, serve_sandbox

    with socket.socket() as attempt:
        # As the server will, or a port whose last connections are still being forgotten would count as taken.
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError:
            raise SettingRefused(f"port {port} is taken or may not be used; choose another with --port") from None
    if port:
        url = f"http://127.0.0.1:{port}/v1.1"
        say(f"in another terminal: export BOUNCER_API_BASE_URL={url} BOUNCER_API_KEY={OPENS_NOTHING}")
    serve_sandbox(SandboxSettings(parallel=parallel), "127.0.0.1", port)
    return 0
