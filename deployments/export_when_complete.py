"""An automation that exports each request as soon as it is complete: an example of acting on the project's events.

Run it with ``python -m deployments.export_when_complete``, once ``serve`` or ``prefect deploy --all`` has made the
deployments.
"""

import asyncio
from uuid import UUID

from prefect import get_client
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from deployments.automations import ensure_automation
from deployments.console import say
from tasks.follow_requests import COMPLETED

__all__ = ["automation_for", "export_when_complete"]

# A template gives a text; read as JSON, it is the number that the flow asks for.
_REQUEST_ID = {
    "__prefect_kind": "json",
    "value": {"__prefect_kind": "jinja", "template": "{{ event.payload.request_id }}"},
}
DEPLOYMENT = "export-request/export-request"


def automation_for(deployment: UUID) -> AutomationCore:
    """The automation: when a request is complete, the deployment runs with that request's id."""
    return AutomationCore(
        name="bouncer-flows: export complete requests",
        description="Writes the CSV file of each request as soon as it is complete.",
        trigger=EventTrigger(
            expect={COMPLETED},
            match=ResourceSpecification({"prefect.resource.id": ["bouncer-flows.request.*"]}),
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            RunDeployment(
                deployment_id=deployment,
                parameters={"request_id": _REQUEST_ID},
            )
        ],
    )


async def export_when_complete() -> list[str]:
    """Makes the automation, or puts it right. Running it again changes nothing.

    Returns:
        A line that says what was changed; none where nothing was.
    """
    async with get_client() as client:
        deployment = await client.read_deployment_by_name(DEPLOYMENT)
        return await ensure_automation(client, automation_for(deployment.id))


if __name__ == "__main__":
    for line in asyncio.run(export_when_complete()) or ["everything is as it should be"]:
        say(line)
