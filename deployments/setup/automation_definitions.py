"""The automations that setup makes: what Prefect should do by itself when it sees, or misses, an event."""

from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, ChangeFlowRunState, RunDeployment, SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from bouncer.installation import here
from tasks.running.events import REQUEST_COMPLETED
from tasks.running.heartbeats import HEARTBEAT

__all__ = [
    "deep_pass",
    "deep_pass_name",
    "ensure_automation",
    "ensure_no_automation",
    "is_as_wanted",
    "notification_names",
    "notifications",
    "own_automations",
    "silent_runs",
]

_AT_WORK = {HEARTBEAT, *(f"prefect.flow-run.{state}" for state in ("Running", "Retrying", "Rerunning"))}
"""Events after which a run's process has to say something; the states are for those that die before the first one."""

_SILENCE = timedelta(seconds=90)
"""Three heartbeats of 30 s: less takes living runs for dead on a busy machine (PrefectHQ/prefect#18404)."""


_SILENT = "A run whose process died says nothing any more; without this it would stay Running for ever."
_ALERTS = "Sends each alert of check-health once when it begins and once when it ends."
_FAILING = "Tells once when check-health has not succeeded for 15 minutes: it fails, or does not run."
_DEEPER_LOOKS = "Runs verify-risky for each request whose contacts all have a verdict, or failed with a reason."

_BEFORE_TAGS = {
    "bouncer-flows: crash silent runs": _SILENT,
    "bouncer-flows: tell of alerts": _ALERTS,
    "bouncer-flows: tell of failing checks": _FAILING,
    "bouncer-flows: deep pass of complete requests": _DEEPER_LOOKS,
}


def silent_runs() -> AutomationCore:
    """The automation that ends runs whose process died: it alone tells that they do."""
    return _automation(
        "crash silent runs",
        description=_SILENT,
        trigger=EventTrigger(
            after=_AT_WORK,
            # Any event of the run will do, not only the usual final states: some end under a name of their own.
            expect={"prefect.flow-run.*"},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            # Others' runs have heartbeats every 180 s, by Prefect's default, and that is no silence.
            match_related=_ours(),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=_SILENCE,
        ),
        action=ChangeFlowRunState(
            state=StateType.CRASHED, message="The run's process has been silent for 90 s; retry it to go on"
        ),
    )


def _automation(what: str, *, description: str, trigger: EventTrigger, action: ActionTypes) -> AutomationCore:
    installation = here()
    return AutomationCore(
        name=f"{installation.title}: {what}",
        description=description,
        tags=[*installation.tags],
        trigger=trigger,
        actions=[action],
    )


def _ours() -> ResourceSpecification:
    return ResourceSpecification(
        {"prefect.resource.role": ["tag"], "prefect.resource.id": [f"prefect.tag.{here().tag}"]}
    )


def notification_names() -> tuple[str, str]:
    """The automations that there are since ALERT_BLOCK named a notification block, until it is off."""
    title = here().title
    return (f"{title}: tell of alerts", f"{title}: tell of failing checks")


_CHECKED = {"prefect.flow-run.Completed", "prefect.flow-run.Alerts"}
"""Events that end a check that could be made."""

_UNCHECKED = timedelta(minutes=15)


def notifications(block_document: UUID) -> tuple[AutomationCore, ...]:
    """The automations that send alerts to a person.

    Args:
        block_document: The notification block that takes them there.
    """
    installation = here()
    return (
        _automation(
            "tell of alerts",
            description=_ALERTS,
            trigger=EventTrigger(
                expect={"bouncer-flows.alert.began", "bouncer-flows.alert.ended"},
                match=ResourceSpecification({"prefect.resource.id": [f"{installation.events}.account.*"]}),
                posture=Posture.Reactive,
                threshold=1,
                within=timedelta(0),
            ),
            action=SendNotification(
                block_document_id=block_document,
                subject=f"{installation.title}: {{{{ event.payload.alert }}}} {{{{ event.payload.change }}}}",
                body=(
                    "{{ event.payload.message }}\n\n"
                    "Account {{ event.resource.name }}, since {{ event.payload.since }}. "
                    f"More is in artifact {installation.artifact('dashboard')} and in: bouncer-flows status"
                ),
            ),
        ),
        _automation(
            "tell of failing checks",
            description=_FAILING,
            trigger=EventTrigger(
                # A success expects the next one: it is told whether the checks fail or nobody runs them.
                after=_CHECKED,
                expect=_CHECKED,
                match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
                match_related=[
                    _ours(),
                    ResourceSpecification(
                        {"prefect.resource.role": ["flow"], "prefect.resource.name": ["check-health"]}
                    ),
                ],
                # There is but one; without it Prefect would expect a success all the time, not only after another one,
                # and tell of one silence every quarter of an hour.
                for_each={"related:flow:prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=_UNCHECKED,
            ),
            action=SendNotification(
                block_document_id=block_document,
                subject=f"{installation.title}: check-health does not succeed",
                body=(
                    "check-health has not succeeded for 15 minutes. Its runs in Prefect say why where they fail; "
                    "where they are late, nobody runs them: start the workers, or bouncer-flows serve."
                ),
            ),
        ),
    )


def deep_pass_name() -> str:
    """The automation that there is while an account serves the deep layer."""
    return f"{here().title}: deep pass of complete requests"


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
    return _automation(
        "deep pass of complete requests",
        description=_DEEPER_LOOKS,
        trigger=EventTrigger(
            expect={REQUEST_COMPLETED},
            match=ResourceSpecification({"prefect.resource.id": [f"{here().events}.request.*"]}),
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        action=RunDeployment(deployment_id=deployment, parameters={"request_id": _REQUEST_ID}),
    )


async def own_automations(client: PrefectClient, name: str | None = None) -> list[Automation]:
    """The automations of this installation, by its tag, whatever others have the same name.

    Those of the default installation that are older than the tag are known by their name and text.

    Args:
        client: Of the Prefect server.
        name: Only those of this name.
    """
    installation = here()
    read = client.read_automations() if name is None else client.read_automations_by_name(name)
    return [
        one
        for one in await read
        if installation.tag in one.tags
        or (installation.is_default and not one.tags and _BEFORE_TAGS.get(one.name) == one.description)
    ]


async def is_as_wanted(client: PrefectClient, wanted: AutomationCore) -> bool:
    """Tells whether the automation exists, once, and is set as wanted; somebody may have switched it off."""
    found = await own_automations(client, wanted.name)
    return len(found) == 1 and _settings(found[0]) == _settings(wanted)


async def ensure_automation(client: PrefectClient, wanted: AutomationCore) -> list[str]:
    """Makes the automation, or puts it right; one that somebody has switched off stays so.

    Returns:
        A line that says what was changed; none where nothing was.
    """
    if await is_as_wanted(client, wanted):
        return []
    found = await own_automations(client, wanted.name)
    if not found:
        await client.create_automation(wanted)
        return [f"automation {wanted.name!r} made"]
    first, *others = found
    for one_too_many in others:
        await client.delete_automation(one_too_many.id)
    await client.update_automation(first.id, wanted.model_copy(update={"enabled": first.enabled}))
    return [f"automation {wanted.name!r} mended"]


async def ensure_no_automation(client: PrefectClient, name: str) -> list[str]:
    """Takes away what this installation has of an automation.

    Returns:
        A line that says so; none where there was none.
    """
    found = await own_automations(client, name)
    for automation in found:
        await client.delete_automation(automation.id)
    return [f"automation {name!r} taken away"] if found else []


def _settings(automation: AutomationCore) -> dict[str, object]:
    # As Python's objects: in JSON the events that a trigger expects, a set, would come in any order.
    return automation.model_dump(include={"description", "tags", "trigger", "actions"}, exclude={"trigger": {"id"}})
