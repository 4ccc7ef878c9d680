"""The run that this process is in, as it was when it began."""

from uuid import UUID

from prefect.context import FlowRunContext

__all__ = ["own_deployment"]


def own_deployment() -> UUID | None:
    """The deployment that this run is one of; None for a subflow, and for a flow that a program has called."""
    # prefect.runtime asks the server for it each time, with a new client, and the event loop stands still meanwhile.
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.parent_task_run_id is not None:
        return None
    return context.flow_run.deployment_id
