"""Makes or mends what a run needs: tables, blocks, limits."""

import asyncio
from typing import Annotated

from cyclopts import Parameter

from deployments.terminal.console import say
from deployments.terminal.exit_codes import ExitCode

__all__ = ["setup"]


def setup(*, check: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Makes or mends tables, blocks and limits, from the environment variables. Safe to run again.

    Args:
        check: Only say what is off, and exit with 1 if anything is.
    """
    from deployments.server.orchestration import orchestrator
    from deployments.settings import read_settings

    settings = read_settings()
    with orchestrator(settings):
        from deployments.setup.check import check_server, check_setup
        from deployments.setup.set_up import set_up

        changes = asyncio.run(check_setup(settings) if check else set_up(settings))
        faults = [] if check else asyncio.run(check_server())
    for line in changes:
        print(line)
    if not changes:
        print("everything is as it should be")
    for fault in faults:
        say(f"warning: {fault}")
    return ExitCode.SOME_FAILED if check and changes else 0
