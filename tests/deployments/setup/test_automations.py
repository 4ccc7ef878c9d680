"""The automations: what they act on, and what they leave alone."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow, get_client
from prefect.client.orchestration import PrefectClient
from prefect.events.schemas.automations import AutomationCore
from prefect.server.database import provide_database_interface
from prefect.server.events import triggers
from prefect.server.events.models.automations import automations_session, create_automation
from prefect.server.events.schemas.automations import Automation, EventTrigger, Firing
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.settings import (
    PREFECT_API_DATABASE_CONNECTION_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)

from deployments.settings import Settings
from deployments.setup.automation_definitions import is_as_wanted, notifications, silent_runs
from deployments.setup.check import check_setup
from deployments.setup.set_up import set_up
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue
from tests.flows.runs import events, ingested, subflows_of, until_it_holds

_CRASH_SILENT_RUNS = silent_runs()
_START = datetime(2026, 5, 4, tzinfo=UTC)
_FLOW = uuid4()


def _covers(automation: AutomationCore) -> Callable[[dict[str, Any]], bool]:
    # The trigger as Prefect's server has it.
    trigger = EventTrigger.model_validate(automation.trigger.model_dump(mode="json"))
    return lambda event: trigger.covers(ReceivedEvent.model_validate(event))


@flow
async def another_teams() -> None:
    """A flow that has nothing to do with this project."""


@on_sqlite
async def test_healthy_runs_of_other_teams_are_not_crashed(set_up_account: SetUpAccount) -> None:
    """The automation acts on runs of this project, subflows too; a foreign flow's heartbeats and states are not its."""
    engine = await set_up_account()
    queue(engine, addresses(10))
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: 30}):
        _, run = await ingested()
        foreign = (await another_teams(return_state=True)).state_details.flow_run_id
    (batch,) = await subflows_of(run)
    covers = _covers(_CRASH_SILENT_RUNS)

    @until_it_holds
    async def told() -> None:
        for name in ("heartbeat", "Completed"):
            of_runs = {
                event["resource"]["prefect.resource.id"]: event for event in await events(f"prefect.flow-run.{name}")
            }
            found = {
                str(id_): covers(of_runs[f"prefect.flow-run.{id_}"])
                for id_ in (run, batch.id, foreign)
                if f"prefect.flow-run.{id_}" in of_runs
            }
            assert found == {str(run): True, str(batch.id): True, str(foreign): False}

    await told()


@on_sqlite
async def test_an_automation_that_crashes_others_is_mended(set_up_account: SetUpAccount, database_url: str) -> None:
    """One that an earlier setup made for all flows of the server is told by the check and put right by setup."""
    await set_up_account()
    old = _CRASH_SILENT_RUNS.model_copy(deep=True)
    old.trigger.match_related = {}
    async with get_client() as client:
        await _replace(client, old)
        assert await check_setup(Settings()) == [f"automation {old.name!r} is missing or set otherwise"]
        assert await set_up(Settings()) == [f"automation {old.name!r} mended"]
        assert await is_as_wanted(client, _CRASH_SILENT_RUNS)


@pytest.fixture
async def fired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Firing]]:
    """What Prefect's own evaluation of triggers fires, in a database of its own and at times that a test names."""
    firings: list[Firing] = []

    async def act(firing: Firing) -> None:
        firings.append(firing)

    monkeypatch.setattr(triggers, "act", act)
    with temporary_settings({PREFECT_API_DATABASE_CONNECTION_URL: f"sqlite+aiosqlite:///{tmp_path / 'prefect.db'}"}):
        database = provide_database_interface()
        await database.create_db()
        yield firings
        triggers.clear_loaded_automations()
        await (await database.engine()).dispose()


@pytest.mark.thorough
async def test_a_silence_of_the_checks_is_told_once(fired: list[Firing]) -> None:
    """Whether they fail or nobody runs them: told once after 15 minutes, and again only after a success between."""
    _, checks_fail = notifications(uuid4())
    automation = await _loaded(checks_fail)
    # Fine, then failing, then nobody runs them; fine again, if with alerts; then nobody runs them at once.
    ends = {
        **dict.fromkeys(range(5), "Completed"),
        **dict.fromkeys(range(5, 60), "Failed"),
        **dict.fromkeys(range(120, 130), "Alerts"),
    }
    told = []
    for minute in range(200):
        if minute in ends:
            await triggers.reactive_evaluation(_end_of_check(minute, ends[minute]))
        # Else it would take the clock of the events for the machine's being slow.
        await triggers.reset_events_clock()
        before = len(fired)
        await triggers.proactive_evaluation(automation.trigger, _START + timedelta(minutes=minute, seconds=30))
        told += [minute] * (len(fired) - before)
    assert told == [19, 144]


@pytest.mark.thorough
async def test_what_is_silent_is_crashed(fired: list[Firing]) -> None:
    """Without a sign for 90 s; not so what has ended, whatever the end is called, nor what waits.

    Prefect's engine sends heartbeats until the server has answered that the run has ended, and one that was sent after
    the end is a sign like others (PrefectHQ/prefect#18653). Once an upgrade mends that, the last line tells.
    """
    automation = await _loaded(_CRASH_SILENT_RUNS)
    signs: dict[str, dict[float, str]] = {
        "ended": {0: "Running", 30: "heartbeat", 40: "Completed"},
        "out of credits": {0: "Running", 30: "heartbeat", 40: "OutOfCredits"},
        "lives": {0: "Running", 30: "heartbeat", 60: "heartbeat", 90: "heartbeat"},
        "lives on an older worker": {0: "Running", 1: "heartbeat", 31: "heartbeat", 61: "heartbeat", 91: "heartbeat"},
        "overtaken on its way": {0: "Running", 29.9: "heartbeat", 30: "Completed"},
        "waits for its retry": {0: "Running", 30: "heartbeat", 31: "AwaitingRetry"},
        "suspended": {0: "Running", 30: "heartbeat", 31: "Suspended"},
        "silent": {0: "Running", 1: "heartbeat", 31: "heartbeat"},
        "silent at once": {0: "Running"},
        "silent at its retry": {0: "Running", 10: "AwaitingRetry", 20: "Retrying"},
        "silent after another worker's end": {0: "Running", 10: "Pending", 20: "Rerunning"},
        "beaten after its end": {0: "Running", 29.9: "Completed", 30: "heartbeat"},
    }
    come = sorted((second, run) for run, of in signs.items() for second in of)
    # The server evaluates events in the order in which they come.
    come.append(come.pop(come.index((29.9, "overtaken on its way"))))
    for second, run in come:
        await triggers.reactive_evaluation(_of_run(run, second, signs[run][second]))
    await triggers.reset_events_clock()
    await triggers.proactive_evaluation(automation.trigger, _START + timedelta(seconds=125))
    crashed = {run for run in signs for one in fired if f"prefect.flow-run.{run}" in one.triggering_labels.values()}
    assert crashed - {"beaten after its end"} == {run for run in signs if run.startswith("silent")}
    assert "beaten after its end" in crashed


async def _loaded(core: AutomationCore) -> Automation:
    """The automation as Prefect's server has it, loaded into its evaluation."""
    automation = Automation.model_validate(
        {**core.model_dump(mode="json"), "id": uuid4(), "created": _START, "updated": _START}
    )
    async with automations_session(begin_transaction=True) as session:
        automation = await create_automation(session, automation)
    triggers.load_automation(automation)
    return automation


def _of_run(run: str, second: float, what: str) -> ReceivedEvent:
    at = _START + timedelta(seconds=second)
    return ReceivedEvent(
        id=uuid4(),
        occurred=at,
        received=at,
        event=f"prefect.flow-run.{what}",
        resource={"prefect.resource.id": f"prefect.flow-run.{run}"},
        related=[{"prefect.resource.id": "prefect.tag.installation:bouncer", "prefect.resource.role": "tag"}],
    )


def _end_of_check(minute: int, state: str) -> ReceivedEvent:
    return ReceivedEvent(
        id=uuid4(),
        occurred=_START + timedelta(minutes=minute),
        received=_START + timedelta(minutes=minute),
        event=f"prefect.flow-run.{state}",
        resource={"prefect.resource.id": f"prefect.flow-run.{uuid4()}"},
        related=[
            {
                "prefect.resource.id": f"prefect.flow.{_FLOW}",
                "prefect.resource.role": "flow",
                "prefect.resource.name": "check-health",
            },
            {"prefect.resource.id": "prefect.tag.installation:bouncer", "prefect.resource.role": "tag"},
        ],
    )


async def _replace(client: PrefectClient, automation: AutomationCore) -> None:
    for found in await client.read_automations_by_name(automation.name):
        await client.delete_automation(found.id)
    await client.create_automation(automation)
