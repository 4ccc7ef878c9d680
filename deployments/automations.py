"""The automations that setup makes: what Prefect should do by itself when it sees, or misses, an event."""

from datetime import timedelta

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

__all__ = ["AUTOMATIONS", "ensure_automation", "is_as_wanted"]

HEARTBEAT = "prefect.flow-run.heartbeat"

_SILENCE = timedelta(seconds=90)
"""Three heartbeats of 30 s: less raises false alarms on a busy machine (PrefectHQ/prefect#18404)."""

AUTOMATIONS = (
    AutomationCore(
        name="bouncer-flows: crash silent runs",
        description="A run whose process died says nothing any more; without this it would stay Running for ever.",
        trigger=EventTrigger(
            after={HEARTBEAT},
            # Any event of the run will do, not only the usual final states: some end under a name of their own.
            expect={"prefect.flow-run.*"},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=_SILENCE,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED, message="The run's process has been silent for 90 s; retry it to go on"
            )
        ],
    ),
)


async def is_as_wanted(client: PrefectClient, wanted: AutomationCore) -> bool:
    """Whether the automation exists, once, and is set as wanted."""
    found = await client.read_automations_by_name(wanted.name)
    return len(found) == 1 and found[0].enabled and _settings(found[0]) == _settings(wanted)


async def ensure_automation(client: PrefectClient, wanted: AutomationCore) -> list[str]:
    """Makes the automation, or puts it right.

    Returns:
        A line that says what was changed; none where nothing was.
    """
    if await is_as_wanted(client, wanted):
        return []
    for found in await client.read_automations_by_name(wanted.name):
        await client.delete_automation(found.id)
    await client.create_automation(wanted)
    return [f"automation {wanted.name!r} made"]


def _settings(automation: AutomationCore) -> dict[str, object]:
    return automation.model_dump(
        mode="json", include={"description", "trigger", "actions"}, exclude={"trigger": {"id"}}
    )
