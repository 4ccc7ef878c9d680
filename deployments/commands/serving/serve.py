"""Runs the Prefect server and the deployments on this machine."""

import asyncio
import os
import signal

from deployments.commands.parameters import Verbose

__all__ = ["serve"]


def serve(*, verbose: Verbose = False) -> int:
    """Runs everything on this machine until it is stopped: the Prefect server with its UI, and the deployments."""
    from deployments.first_contact import try_key_unless_away
    from deployments.protection.process_privacy import use_own_temporary_folder
    from deployments.protection.working_folder import working_folder
    from deployments.server.home import make_home
    from deployments.server.orchestration import orchestrator
    from deployments.settings import read_settings

    settings = read_settings()
    # It would end this process at once, and leave behind the local server that is being started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    make_home(settings.bouncer_flows_home)
    use_own_temporary_folder(settings.bouncer_flows_home)
    try_key_unless_away(settings)
    with orchestrator(settings, modules=["deployments.serving.serve"], verbose=verbose) as ui:
        from deployments.serving.serve import serve_until_stopped

        # The runs that it starts stand there too.
        os.chdir(working_folder(settings.bouncer_flows_home))
        asyncio.run(serve_until_stopped(settings, ui))
    return 0
