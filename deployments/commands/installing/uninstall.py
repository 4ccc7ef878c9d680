"""Takes an installation off the Prefect server."""

import asyncio
from typing import Annotated

from cyclopts import Parameter

from bouncer.errors import SettingRefused
from deployments.terminal.console import agreed, say, tell

__all__ = ["uninstall"]


def uninstall(*, yes: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Takes everything of this installation off the Prefect server; the contacts database stays as it is.

    Args:
        yes: Do so without asking.
    """
    from deployments.server.orchestration import orchestrator
    from deployments.settings import read_settings

    settings = read_settings()
    name = settings.bouncer_flows_name
    with orchestrator(settings):
        from deployments.setup.work_pool import pool_name
        from deployments.uninstalling import uninstall as take_off
        from deployments.uninstalling import what_uninstall_deletes

        there = asyncio.run(what_uninstall_deletes())
        if not agreed([f"Delete {there}, and the limits of installation {name}?"], yes=yes):
            raise SettingRefused(f"nothing of installation {name} is deleted without --yes: {there}, and its limits")
        changes = asyncio.run(take_off(pool_name(settings.work_pool)))
    for line in changes:
        tell(line)
    tell(f"installation {name} is off the Prefect server")
    say("the contacts database is as it was: contacts, requests, verdicts, the ledger, and what waits in the queue")
    return 0
