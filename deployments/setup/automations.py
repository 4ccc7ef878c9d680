"""The automations that setup makes: what Prefect should do by itself when it sees, or misses, an event."""

from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from tasks.monitoring.measure import FLOWS
from tasks.requests.following import COMPLETED

__all__ = [
    "AUTOMATIONS",
    "DEEPER_LOOKS",
    "NOTIFICATIONS",
    "deep_pass",
    "ensure_automation",
    "ensure_no_automation",
    "is_as_wanted",
    "notifications",
]

HEARTBEAT = "prefect.flow-run.heartbeat"

_SILENCE = timedelta(seconds=90)
"""Three heartbeats of 30 s: less takes living runs for dead on a busy machine (PrefectHQ/prefect#18404)."""


def _of_flows(*names: str) -> ResourceSpecification:
    # By flow and not by tag: a tag is a deployment's, and its subflows and runs of commands do not have it.
    return ResourceSpecification({"prefect.resource.role": ["flow"], "prefect.resource.name": list(names)})


AUTOMATIONS = (
    AutomationCore(
        name="bouncer-flows: crash silent runs",
        description="A run whose process died says nothing any more; without this it would stay Running for ever.",
        trigger=EventTrigger(
            after={HEARTBEAT},
            # Any event of the run will do, not only the usual final states: some end under a name of their own.
            expect={"prefect.flow-run.*"},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            # Only of this project's: others' heartbeats come every 180 s, by Prefect's default, and are no silence.
            match_related=_of_flows(*FLOWS),
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


NOTIFICATIONS = ("bouncer-flows: tell of alerts", "bouncer-flows: tell of failing checks")
"""The automations that there are since ALERT_BLOCK named a notification block, until it is off."""

_CHECKED = {"prefect.flow-run.Completed", "prefect.flow-run.Alerts"}
"""Events that end a check that could be made."""

_UNCHECKED = timedelta(minutes=15)


def notifications(block_document: UUID) -> tuple[AutomationCore, ...]:
    """The automations that send alerts to a person.

    Args:
        block_document: The notification block that takes them there.
    """
    alerts, failing = NOTIFICATIONS
    return (
        AutomationCore(
            name=alerts,
            description="Sends each alert of check-health once when it begins and once when it ends.",
            trigger=EventTrigger(
                expect={"bouncer-flows.alert.began", "bouncer-flows.alert.ended"},
                match=ResourceSpecification({"prefect.resource.id": ["bouncer-flows.account.*"]}),
                posture=Posture.Reactive,
                threshold=1,
                within=timedelta(0),
            ),
            actions=[
                SendNotification(
                    block_document_id=block_document,
                    subject="bouncer-flows: {{ event.payload.alert }} {{ event.payload.change }}",
                    body=(
                        "{{ event.payload.message }}\n\n"
                        "Account {{ event.resource.name }}, since {{ event.payload.since }}. "
                        "More is in artifact dashboard and in: bouncer-flows status"
                    ),
                )
            ],
        ),
        AutomationCore(
            name=failing,
            description="Tells once when check-health has not succeeded for 15 minutes: it fails, or does not run.",
            trigger=EventTrigger(
                # A success expects the next one: it is told whether the checks fail or nobody runs them.
                after=_CHECKED,
                expect=_CHECKED,
                match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
                match_related=_of_flows("check-health"),
                # There is but one; without it Prefect would expect a success all the time, not only after another one,
                # and tell of one silence every quarter of an hour.
                for_each={"related:flow:prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=_UNCHECKED,
            ),
            actions=[
                SendNotification(
                    block_document_id=block_document,
                    subject="bouncer-flows: check-health does not succeed",
                    body=(
                        "check-health has not succeeded for 15 minutes. Its runs in Prefect say why where they fail; "
                        "where they are late, nobody runs them: start the workers, or bouncer-flows serve."
                    ),
                )
            ],
        ),
    )


DEEPER_LOOKS = "bouncer-flows: deep pass of complete requests"
"""The automation that there is while an account serves the deep layer."""

# A template gives a text; read as JSON, it is the number that the flow asks for.
_REQUEST_ID = {
    "__prefect_kind": "json",
    "value": {"__prefect_kind": "jinja", "template": "{{ event.payload.request_id }}"},
}


def deep_pass(deployment: UUID) -> AutomationCore:
    """The automation that looks deeper at the risky contacts of a request as soon as its first pass is complete.

    Args:
        deployment: The deployment of flow verify-risky.
    """
    return AutomationCore(
        name=DEEPER_LOOKS,
        description="Runs verify-risky for each request whose contacts all have a verdict, or failed with a reason.",
        trigger=EventTrigger(
            expect={COMPLETED},
            match=ResourceSpecification({"prefect.resource.id": ["bouncer-flows.request.*"]}),
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[RunDeployment(deployment_id=deployment, parameters={"request_id": _REQUEST_ID, "on_workers": True})],
    )


async def is_as_wanted(client: PrefectClient, wanted: AutomationCore) -> bool:
    """Tells whether the automation exists, once, and is set as wanted."""
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


async def ensure_no_automation(client: PrefectClient, name: str) -> list[str]:
    """Takes away what there is of an automation.

    Returns:
        A line that says so; none where there was none.
    """
    found = await client.read_automations_by_name(name)
    for automation in found:
        await client.delete_automation(automation.id)
    return [f"automation {name!r} taken away"] if found else []


def _settings(automation: AutomationCore) -> dict[str, object]:
    # As Python's objects: in JSON the events that a trigger expects, a set, would come in any order.
    return automation.model_dump(include={"description", "trigger", "actions"}, exclude={"trigger": {"id"}})
