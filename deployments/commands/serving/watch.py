"""Watches the queue for workers."""

import asyncio

__all__ = ["watch"]


def watch() -> int:
    """Watches the queue until it is stopped, and starts the flows on workers as soon as there is work.

    Without it, contacts that an application queues wait for the next tick on the schedule.
    """
    from deployments.server.orchestration import orchestrator
    from deployments.settings import read_settings

    settings = read_settings()
    with orchestrator(settings):
        from deployments.serving.watch import watch_until_stopped

        asyncio.run(watch_until_stopped())
    return 0
