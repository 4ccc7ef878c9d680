"""Makes the deployments for workers."""

import asyncio
from typing import Annotated

from cyclopts import Parameter

__all__ = ["deploy"]


def deploy(
    *, image: Annotated[str | None, Parameter(help="The image of the runs, in a pool of containers.")] = None
) -> int:
    """Makes the deployments for workers, in the work pool that WORK_POOL names, or in one of the installation's own.

    What was set in the UI stays: parameters, schedules, pauses, job variables.
    """
    from deployments.server.orchestration import orchestrator
    from deployments.settings import read_settings
    from deployments.terminal.console import tell

    settings = read_settings()
    with orchestrator(settings):
        from deployments.serving.deploy import deploy_for_workers

        changes = asyncio.run(deploy_for_workers(settings, image))
    for line in changes:
        tell(line)
    return 0
