"""Runs the Prefect server and the deployments on this machine."""

import asyncio
import signal

from deployments.commands.parameters import Verbose

__all__ = ["serve"]


def serve(*, verbose: Verbose = False) -> int:
    """Runs everything on this machine until it is stopped: the Prefect server with its UI, and the deployments."""
    from deployments.server.orchestration import orchestrator
    from deployments.settings import read_settings

    settings = read_settings()
    # It would end this process at once, and leave behind the local server that is being started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with orchestrator(settings, verbose=verbose) as ui:
        from deployments.serving.serve import serve_until_stopped

        asyncio.run(serve_until_stopped(settings, ui))
    return 0
