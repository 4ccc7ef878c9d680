"""An automation that exports each request as soon as it is complete: an example of acting on the project's events.

Run it with ``python -P -m deployments.setup.export_when_complete``, while ``serve`` runs, or once
``bouncer-flows deploy`` has made the deployments.
"""

import asyncio
import sys
from uuid import UUID

from prefect import get_client
from prefect.context import refresh_global_settings_context
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from bouncer.installation import here
from deployments.server.orchestration import orchestrator
from deployments.settings import read_settings
from deployments.setup.automation_definitions import ensure_automation
from deployments.terminal.console import say
from tasks.running.events import REQUEST_COMPLETED

__all__ = ["automation_for", "export_when_complete"]

# A template gives a text; read as JSON, it is the number that the flow asks for.
_REQUEST_ID = {
    "__prefect_kind": "json",
    "value": {"__prefect_kind": "jinja", "template": "{{ event.payload.request_id }}"},
}


def automation_for(deployment: UUID) -> AutomationCore:
    """The automation: when a request is complete, the deployment runs with that request's id."""
    return AutomationCore(
        name=f"{here().title}: export complete requests",
        tags=[*here().tags],
        description="Writes the CSV file of each request as soon as it is complete.",
        trigger=EventTrigger(
            expect={REQUEST_COMPLETED},
            match=ResourceSpecification({"prefect.resource.id": [f"{here().events}.request.*"]}),
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

    Raises:
        ObjectNotFound: The deployment is not there.
    """
    async with get_client() as client:
        deployment = await client.read_deployment_by_name(here().deployment_of("export-request"))
        return await ensure_automation(client, automation_for(deployment.id))


def _main() -> None:
    # The server of PREFECT_API_URL, or that of serve.
    with orchestrator(read_settings()):
        # Prefect has read its settings already, when it was imported above.
        refresh_global_settings_context()
        try:
            changes = asyncio.run(export_when_complete())
        except ObjectNotFound:
            sys.exit(
                "there is no deployment of flow export-request; start bouncer-flows serve, or run bouncer-flows deploy"
            )
    for line in changes or ["everything is as it should be"]:
        say(line)


if __name__ == "__main__":
    _main()
