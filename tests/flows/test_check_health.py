"""Flow check-health: figures are kept, each alert is told once when it begins and once when it ends."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import ArtifactSort
from sqlalchemy import Engine, delete, func, insert, select, update

from blocks.access import open_access
from blocks.bouncer_account import BouncerAccount
from blocks.run_tags import marked
from bouncer.accounts import circuit_breaker
from bouncer.accounts import state as account_state
from bouncer.accounts.call_statistics import CUT_SHORT, Call, CallNote, count_calls, store_notes
from bouncer.errors import KeyRefused
from bouncer.monitoring import alerts
from bouncer.monitoring.measurement import latest_metrics
from bouncer.monitoring.thresholds import Thresholds
from bouncer.storage.dialects import database_now
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Account, Batch, BatchStatus, CallCount, HealthMetric, QueuedContact, RateLimitWindow
from flows.check_health import check_health
from flows.ingest import ingest
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue
from tests.flows.runs import events, ingested, until_it_holds
from tests.prefect_server import add_account
from tests.sandbox_process import SandboxHandle

_LOW = Thresholds(
    backlog_contacts=20,
    error_rate_percent=5,
    rate_limit_percent=0,
    response_seconds=0.2,
    worker_failures_an_hour=1,
    oldest_waiting_hours=24,
    paused_minutes=60,
    min_calls=1,
    calm_minutes=0,
)
_ALL = {
    "backlog",
    "bouncer",
    "credits",
    "deadline",
    "error-rate",
    "held",
    "paused",
    "queued",
    "rate-limit",
    "response-time",
    "waiting",
    "worker-failures",
}


@pytest.fixture(autouse=True)
async def no_earlier_failures(set_up_account: SetUpAccount) -> None:
    """What other tests left on the Prefect server is no failure of this one's workers."""
    await _forget_failed_runs()


async def _forget_failed_runs() -> None:
    badly = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.FAILED, StateType.CRASHED]))
    async with get_client() as client:
        while runs := await client.read_flow_runs(flow_run_filter=FlowRunFilter(state=badly)):
            for run in runs:
                await client.delete_flow_run(run.id)


async def _told_since(moment: datetime) -> Counter[tuple[str, str]]:
    return Counter(
        (str(event["payload"]["alert"]), str(event["event"]).removeprefix("bouncer-flows.alert."))
        for event in await events("bouncer-flows.alert.")
        if datetime.fromisoformat(event["occurred"]) >= moment
    )


async def _dashboard() -> str:
    async with get_client() as client:
        (latest,) = await client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["dashboard"])),
            sort=ArtifactSort.CREATED_DESC,
            limit=1,
        )
    return str(latest.data)


def _set_back(engine: Engine, column: Any, **span: float) -> None:
    with engine.begin() as connection:
        moment = database_now(connection) - timedelta(**span)
        connection.execute(update(column.class_).where(column.is_not(None)).values({column: moment}))


@pytest.mark.scenario
async def test_each_alert_begins_once_and_ends_once(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """Every threshold is crossed for several checks, and then none is: one event for each beginning and each end."""
    engine = await set_up_account(rate_limit_per_minute=600)
    began = datetime.now(UTC)
    healthy = await check_health(_LOW.model_copy(update={"rate_limit_percent": 100}), return_state=True)
    assert (healthy.name, healthy.message) == ("Completed", "all is well")

    queue(engine, addresses(30))
    sandbox.post("/_sandbox/credits", {"key": sandbox.key, "credits": 5})
    sandbox.fault("slow", operation="credits", seconds=0.4, times=1)
    async with open_access("default", "a worker") as access:
        await access.write(account_state.record_credits, access.name, await access.client.credits())
    for _ in range(2):
        sandbox.fault("status", operation="credits", code=401, message="user not found")
        with pytest.raises(KeyRefused), marked():
            await ingest()
    write(engine, account_state.pause, "default", by="ann@desk", reason="the list is wrong")
    _set_back(engine, Account.paused_ts, hours=2)
    _set_back(engine, Account.credits_ts, hours=2)
    _set_back(engine, QueuedContact.created_ts, hours=48)
    overdue = {"status": BatchStatus.PROCESSING, "batch_id": "gone", "quantity": 1, "user_id": 1, "request_id": 1}
    with engine.begin() as connection:
        long_ago = database_now(connection) - timedelta(hours=5)
        at_bouncer = {**overdue, "uploaded_ts": long_ago, "progress_ts": long_ago}
        for more in ({"running_ts": long_ago}, {"batch_id": "queued"}):
            connection.execute(insert(Batch).values(**{**at_bouncer, **more}))
        held = {"status": BatchStatus.QUEUED, "batch_id": None, "held_ts": long_ago, "upload_begun_ts": long_ago}
        connection.execute(insert(Batch).values(**{**overdue, **held}))
    sandbox.fault("status", operation="credits", code=401, message="user not found", times=None)
    for _ in range(2):
        alarmed = await check_health(_LOW, return_state=True)
        assert alarmed.name == "Alerts", alarmed.message
    shown = await _dashboard()
    assert shown.startswith("# 12 alerts: ")
    assert "| credits left | 5 | at least 30 | " in shown
    assert "| batches past their deadline | 1 | 0 | 1 | " in shown
    assert "| batches held for a person | 1 | 0 | 1 | " in shown
    assert "**Paused** since" in shown
    assert "by ann@desk: the list is wrong" in shown

    with engine.begin() as connection:
        connection.execute(delete(Batch))
    sandbox.clear_faults()
    sandbox.post("/_sandbox/credits", {"key": sandbox.key, "credits": 1000})
    write(engine, account_state.resume, "default")
    assert (await ingested())[0].verified == 30
    with engine.begin() as connection:
        # As after an hour: what was counted is too old.
        connection.execute(delete(CallCount))
        connection.execute(delete(RateLimitWindow))
    await _forget_failed_runs()
    for _ in range(2):
        calm = await check_health(_LOW, return_state=True)
        assert (calm.name, calm.message) == ("Completed", "all is well")
    assert (await _dashboard()).startswith("# All is well\n")

    @until_it_holds
    async def told() -> None:
        assert await _told_since(began) == {(alert, what): 1 for alert in _ALL for what in ("began", "ended")}

    await told()


async def test_alerts_about_calls_end_on_an_idle_account(set_up_account: SetUpAccount) -> None:
    """When a bad hour is over and nothing is sent but the question for the credits, error rate and speed are well."""
    engine = await set_up_account()
    usual = Thresholds(calm_minutes=0)
    bad = [CallNote(Call.STATUS, "bouncer unavailable", 30.0)] * 30
    write(engine, store_notes, "default", bad)
    alarmed = await check_health(usual, return_state=True)
    assert "error-rate" in str(alarmed.message)
    assert "response-time" in str(alarmed.message)
    with engine.begin() as connection:
        connection.execute(delete(CallCount))
    _set_back(engine, Account.credits_ts, minutes=5)
    calm = await check_health(usual, return_state=True)
    assert (calm.name, calm.message) == ("Completed", "all is well")


@on_sqlite
async def test_a_breaker_that_opened_while_nothing_waits_closes_again(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Once Bouncer is back, a check is the probe that finds it so, since nobody else asks."""
    engine = await set_up_account()
    for _ in range(circuit_breaker.FAILURES_TO_OPEN):
        write(engine, account_state.ensure_row, "default")
        write(engine, circuit_breaker.record_failure, "default")
    opened = await check_health(return_state=True)
    assert "the circuit breaker is open" in str(opened.message)
    _set_back(engine, Account.breaker_changed_ts, seconds=circuit_breaker.OPEN_SECONDS + 5)
    await check_health(Thresholds(calm_minutes=0), return_state=True)
    assert read(engine, account_state.read_state, "default").breaker_state == "closed"
    assert sandbox.ledger()["requests_by_operation"] == {"credits": 1}


@on_sqlite
async def test_a_bouncer_that_never_answers_is_told_of(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that takes connections and says nothing is trouble, not something that nobody knows."""
    monkeypatch.setattr("tasks.monitoring.measure._PATIENCE_SECONDS", 0.5)
    engine = await set_up_account()
    sandbox.fault("slow", operation="credits", seconds=5)
    alarmed = await check_health(return_state=True)
    assert "Bouncer has not answered within" in str(alarmed.message)
    assert [(one.call, one.outcome) for one in read(engine, count_calls, "default", 5)] == [("credits", CUT_SHORT)]


@on_sqlite
async def test_figures_are_kept_with_their_units(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """A check after a run knows what was settled, how the calls went and what is left; the numbers are the rows'."""
    engine = await set_up_account()
    queue(engine, addresses(40))
    await ingested()
    queue(engine, addresses(7, prefix="later"))
    await check_health()
    checked, metrics = read(engine, latest_metrics)
    assert checked is not None
    assert metrics["backlog_contacts"] == 7
    assert metrics["settled_contacts_a_minute"] == 8
    assert metrics["settled_contacts_an_hour"] == 40
    assert (metrics["batches_in_flight"], metrics["batches_under_way"]) == (0, 0)
    assert (metrics["error_rate_permille"], metrics["worker_failures_an_hour"]) == (0, 0)
    assert 0 < metrics["response_p50_ms.create"] <= metrics["response_max_ms"]
    assert metrics["response_p95_ms.status"] <= metrics["response_max_ms.status"]
    assert (metrics["bouncer_usable"], metrics["breaker_state"], metrics["paused_seconds"]) == (1, 0, 0)
    assert (
        metrics["credits_left"] == sandbox.ledger()["credits"][sandbox.key] if "credits" in sandbox.ledger() else True
    )
    assert (metrics["limit_batches"], metrics["limit_requests_a_minute"]) == (15, 6000)
    assert metrics["run_memory_mb"] > 50


@on_sqlite
async def test_every_account_is_looked_at(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """A second account has figures, alerts and a place on the dashboard of its own; what both share is told once."""
    sandbox.post("/_sandbox/keys", {"key": "second-key", "credits": 7})
    engine = await set_up_account()
    await add_account("second", api_key="second-key")
    try:
        write(engine, account_state.pause, "second", by="ann@desk", reason="half of it is used up")
        _set_back(engine, Account.paused_ts, hours=2)
        queue(engine, addresses(3))
        alarmed = await check_health(_LOW.model_copy(update={"backlog_contacts": 1}), return_state=True)
        assert alarmed.name == "Alerts"
    finally:
        await BouncerAccount.adelete("second")
    in_force = {name: {one.alert for one in read(engine, alerts.in_force, name)} for name in ("default", "second")}
    assert {"backlog", "paused"} & in_force["default"] == {"backlog"}
    assert {"backlog", "paused"} & in_force["second"] == {"paused"}
    _, metrics = read(engine, latest_metrics)
    assert (metrics["credits_left@second"], metrics["limit_batches@second"]) == (7, 15)
    assert "worker_failures_an_hour@second" not in metrics
    shown = await _dashboard()
    assert "Account second: **Paused** since" in shown
    of_default, of_second = shown.split("\n## Now, and the last 24 hours of account ")[1:]
    assert (of_default.partition("\n")[0], of_second.partition("\n")[0]) == ("default", "second")
    assert "| contacts waiting | 3 | 1 | 3 | " in of_default
    assert "contacts waiting" not in of_second
    assert "| credits left | 7 |  | 7 | " in of_second
    assert "| paused, min | 120 | 60 | 120.0 | " in of_second
    assert "| paused, min | 0 | 60 | 0.0 | " in of_default


@on_sqlite
async def test_a_check_of_one_account_passes_for_no_other(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """It keeps figures of its own and judges nothing that is shared; all alerts of it end when its block is removed."""
    sandbox.post("/_sandbox/keys", {"key": "second-key", "credits": 7})
    engine = await set_up_account()
    await add_account("second", api_key="second-key")
    low = _LOW.model_copy(update={"backlog_contacts": 1})

    def in_force(account: str) -> set[str]:
        return {one.alert for one in read(engine, alerts.in_force, account)} & {"backlog", "credits", "paused"}

    try:
        await check_health(low)
        drawn = await _dashboard()
        queue(engine, addresses(3))
        write(engine, account_state.pause, "second", by="ann@desk", reason="half of it is used up")
        _set_back(engine, Account.paused_ts, hours=2)
        await check_health(low, ["second"], return_state=True)
        _, metrics = read(engine, latest_metrics)
        assert (metrics["paused_seconds"], metrics["backlog_contacts"], metrics["backlog_contacts@second"]) == (0, 0, 3)
        assert (in_force("default"), in_force("second")) == (set(), {"paused"})
        assert await _dashboard() == drawn
        await check_health(low, return_state=True)
        assert (in_force("default"), in_force("second")) == ({"backlog"}, {"paused"})
        assert "nobody is missing" in str(await check_health(low, ["nobody"], return_state=True))
    finally:
        await BouncerAccount.adelete("second")
    began = datetime.now(UTC)
    await check_health(low, return_state=True)
    assert in_force("second") == set()

    @until_it_holds
    async def told() -> None:
        assert (await _told_since(began))[("paused", "ended")] == 1

    await told()


@on_sqlite
async def test_credits_are_asked_for_at_most_once_a_minute(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Bouncer answers 10 calls for credits a minute; checks and ingests share what was told a moment ago."""
    engine = await set_up_account()
    for _ in range(3):
        await check_health()
    assert sandbox.ledger()["requests_by_operation"] == {"credits": 1}
    with engine.connect() as connection:
        checks = connection.scalar(select(func.count()).where(HealthMetric.metric_name == "credits_left"))
    assert checks == 3
