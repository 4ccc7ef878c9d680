"""Commands that run until they are stopped."""

import asyncio
import signal
import socket
from typing import Annotated

from cyclopts import Parameter, validators

from bouncer.errors import SettingRefused
from deployments.commands.contacts import open_contacts
from deployments.commands.parameters import Verbose
from deployments.server.orchestration import orchestrator
from deployments.settings import read_settings
from deployments.terminal.console import say

__all__ = ["callbacks", "metrics", "sandbox", "serve"]


def serve(*, verbose: Verbose = False) -> int:
    """Runs everything on this machine until it is stopped: the Prefect server with its UI, and the deployments."""
    settings = read_settings()
    # It would end this process at once, and leave behind the local server that is being started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with orchestrator(settings, verbose=verbose) as ui:
        from deployments.serving.serve import serve_until_stopped

        asyncio.run(serve_until_stopped(settings, ui))
    return 0


def metrics() -> int:
    """Serves the figures for Prometheus at METRICS_HOST and METRICS_PORT until it is stopped."""
    from deployments.serving.metrics_endpoint import serving_metrics

    settings = read_settings()
    if settings.metrics_port == 0:
        raise SettingRefused("METRICS_PORT is not set; name the port, such as 9464")
    engine = open_contacts(settings)
    ends = {signal.SIGINT, signal.SIGTERM}
    # Before there is another thread, which would take them instead.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with serving_metrics(settings, engine) as port:
        say(f"figures for Prometheus are at http://{settings.metrics_host}:{port}/metrics")
        signal.sigwait(ends)
    return 0


def callbacks() -> int:
    """Receives Bouncer's callbacks until it is stopped, and does nothing else; for runs on workers."""
    from deployments.serving.callback_receiver import receive_until_stopped

    settings = read_settings()
    receive_until_stopped(settings, open_contacts(settings))
    return 0


def sandbox(*, port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65_535))] = 8025) -> int:
    """Runs a stand-in for the Bouncer service, until it is stopped; for trying things out at no cost."""
    from sandbox import SandboxSettings, serve_sandbox

    with socket.socket() as attempt:
        # As the server will, or a port whose last connections are still being forgotten would count as taken.
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError:
            raise SettingRefused(f"port {port} is taken or may not be used; choose another with --port") from None
    serve_sandbox(SandboxSettings(), "127.0.0.1", port)
    return 0
