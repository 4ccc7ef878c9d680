"""Keeps the local server up until somebody stops it."""

import asyncio
import signal

from deployments.display import say
from deployments.settings import Settings
from deployments.setup import set_up

__all__ = ["serve_until_stopped"]


def serve_until_stopped(settings: Settings, ui: str | None) -> None:
    """Sets up what is missing, says where the UI is, and waits for SIGINT or SIGTERM.

    Args:
        settings: The environment.
        ui: The address of the local server's UI, or None where another server is used.
    """
    for change in asyncio.run(set_up(settings)):
        say(change)
    say(f"the Prefect UI is at {ui}; Ctrl-C ends it" if ui else "the server that PREFECT_API_URL names is set up")
    asyncio.run(_until_stopped())


async def _until_stopped() -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
