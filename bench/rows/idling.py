"""Load of an idle installation on its Prefect server, and the time until queued contacts are claimed."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from bench.draining import Work, environment_of
from bench.measuring import Bench, Row, median
from bench.processes import running
from bench.servers import running_sandbox
from bench.watched_server import Asked, WatchedServer, watched_server
from blocks.contacts_database import engine_of
from tests.contacts import addresses, queue, statuses

__all__ = ["idling_under_serve", "idling_with_a_worker"]

_TICKS = ("dispatch", "check-health", "housekeeping")
"""The flows on a schedule; a tick that found nothing deletes the one before."""

_SECONDS = 60.0
_STORED_SECONDS = 7.0
"""The server stores events each five seconds."""

_AHEAD_SECONDS = 30.0
"""Runs of a schedule are known before, so that a worker which asks three times a minute has them in time."""

_PATIENCE_SECONDS = 120.0
_WORK = Work(batches=1, batch_size=10, slots=15, seconds=1, poll_min=1, poll_max=2)


def idling_under_serve(bench: Bench) -> list[Row]:
    """Counts at the server for a minute and for each tick by itself, then queues contacts as an application does."""
    if bench.quick:
        # In less than a minute most of the calls are those of the beginning.
        return []
    with _installation(bench, "serve") as (server, engine, environment, folder):
        variables = {**environment, "PREFECT_API_URL": server.address("serve")}
        with running(["serve"], variables, folder / "serve.log"):
            return _measure(bench, server, engine, "under serve", most_seconds=10)


def idling_with_a_worker(bench: Bench) -> list[Row]:
    """The same with a worker of Prefect's, as docs/production.md has it, and ``bouncer-flows watch``."""
    if bench.quick:
        return []
    with _installation(bench, "worker") as (server, engine, environment, folder), ExitStack() as processes:
        with running(["deploy"], environment, folder / "deploy.log") as deploy:
            deploy.wait()
        for who, program, arguments in (
            ("worker", "prefect", ["worker", "start", "--pool", "bouncer"]),
            ("watch", "deployments.command_line", ["watch"]),
        ):
            variables = {**environment, "PREFECT_API_URL": server.address(who), "PREFECT_WORKER_QUERY_SECONDS": "20"}
            processes.enter_context(
                running(arguments, variables, folder / f"{who}.log", (sys.executable, "-m", program))
            )
        return _measure(bench, server, engine, "with a worker", most_seconds=60)


@contextmanager
def _installation(bench: Bench, name: str) -> Iterator[tuple[WatchedServer, Engine, dict[str, str], Path]]:
    folder = bench.folder / f"idling-{name}"
    folder.mkdir()
    with (
        bench.server.database() as database,
        running_sandbox(_WORK.seconds) as sandbox,
        watched_server(folder / "server") as server,
    ):
        url = bench.server.url(database)
        environment = environment_of(_WORK, url, folder / "home", sandbox)
        environment["PREFECT_API_URL"] = server.address("setup")
        with running(["setup", "--yes"], environment, folder / "setup.log") as setup:
            setup.wait()
        engine = engine_of(url)
        yield server, engine, environment, folder
        engine.dispose()


def _measure(bench: Bench, server: WatchedServer, engine: Engine, where: str, most_seconds: float) -> list[Row]:
    _until(lambda: set(_upcoming(server)) == set(_TICKS))
    # The second check has other figures than the first, which has called nobody before; a third has the second's.
    for flow in (*_TICKS, "check-health"):
        _run(server, flow)
    _let_schedules_pass(bench, server, _SECONDS)
    bench.say(f"{_SECONDS:.0f} s of nothing {where}")
    began, before = datetime.now(UTC), server.asked()
    time.sleep(_SECONDS)
    idle, upcoming = server.asked().less(before), _upcoming(server)
    begun = {"start_time": {"after_": began.isoformat()}, "state": {"type": {"not_any_": ["SCHEDULED"]}}}
    unscheduled = len(_runs(server, **begun))
    schedules = _active_schedules(server)
    # A tick of the schedule beside one that is measured would count as part of it.
    _switch(server, schedules, active=False)
    time.sleep(2 * _STORED_SECONDS)
    bench.say(f"each tick by itself {where}")
    ticks = {flow: _tick(server, flow, idle, _SECONDS) for flow in _TICKS}
    bench.say(f"a check that writes the dashboard again {where}")
    _forget_dashboard(server)
    renewal = _tick(server, "check-health", idle, _SECONDS).less(ticks["check-health"])
    _switch(server, schedules, active=True)

    def a_minute(of: Callable[[Asked], float]) -> float:
        an_hour = sum(of(ticks[flow]) * often for flow, often in upcoming.items()) + of(renewal)
        # What the server tidies up after the ticks before is not what an idle minute brings.
        return max(of(idle), 0) * 60 / _SECONDS + an_hour / 60

    bench.say(f"contacts that an application queues {where}")
    taken_up = median([_taken_up(server, engine, number) for number in range(1, 6)])
    callers = [who for who in idle.calls if who != "setup"]
    return [
        Row(f"idle {where}: flow runs an hour", upcoming.total() + unscheduled * 3600 / _SECONDS, "runs", most=12),
        *(
            Row(f"idle {where}: API calls of {who} a minute", a_minute(partial(_calls, who)), "calls", most=10)
            for who in callers
        ),
        Row(f"idle {where}: events a minute", a_minute(lambda asked: asked.events), "events", most=5),
        Row(f"idle {where}: Prefect's own heartbeats a minute", a_minute(lambda asked: asked.heartbeats), "heartbeats"),
        Row(
            f"idle {where}: growth of the Prefect server's database a day",
            a_minute(lambda asked: asked.bytes) * 1440 / 1e6,
            "MB",
            most=20,
        ),
        Row(f"a contact that an application queues {where}, to its claim", taken_up, "s", most=most_seconds),
    ]


def _active_schedules(server: WatchedServer) -> list[str]:
    deployments = server.api.post("/deployments/filter", json={}).raise_for_status().json()
    return [
        f"/deployments/{deployment['id']}/schedules/{schedule['id']}"
        for deployment in deployments
        for schedule in deployment["schedules"]
        if schedule["active"]
    ]


def _switch(server: WatchedServer, schedules: list[str], *, active: bool) -> None:
    for schedule in schedules:
        server.api.patch(schedule, json={"active": active}).raise_for_status()


def _calls(who: str, asked: Asked) -> float:
    return asked.calls.get(who, 0)


def _tick(server: WatchedServer, flow: str, idle: Asked, seconds: float) -> Asked:
    # Beside what comes in the same time without it.
    began, before = time.monotonic(), server.asked()
    _run(server, flow, ahead=_AHEAD_SECONDS)
    return server.asked().less(before).less(idle, (time.monotonic() - began) / seconds)


def _run(server: WatchedServer, flow: str, ahead: float = 0.0) -> None:
    when = (datetime.now(UTC) + timedelta(seconds=ahead)).isoformat()
    deployment = server.api.get(f"/deployments/name/{flow}/{flow}").raise_for_status().json()["id"]
    state = {"state": {"type": "SCHEDULED", "state_details": {"scheduled_time": when}}}
    asked = server.api.post(f"/deployments/{deployment}/create_flow_run", json=state)
    run = asked.raise_for_status().json()["id"]
    _until(lambda: server.api.get(f"/flow_runs/{run}").raise_for_status().json()["end_time"] is not None)
    time.sleep(_STORED_SECONDS)


def _forget_dashboard(server: WatchedServer) -> None:
    # The next check writes it, as one does each hour.
    wanted = {"artifacts": {"key": {"any_": ["dashboard"]}}}
    for one in server.api.post("/artifacts/filter", json=wanted).raise_for_status().json():
        server.api.delete(f"/artifacts/{one['id']}").raise_for_status()


def _taken_up(server: WatchedServer, engine: Engine, request: int) -> float:
    _until(lambda: not _runs(server, state={"type": {"any_": ["RUNNING", "PENDING"]}}))
    queue(engine, addresses(1, prefix=f"contact{request}"), request=request)
    queued = time.monotonic()
    _until(lambda: "queued" not in statuses(engine, request=request))
    return time.monotonic() - queued


def _upcoming(server: WatchedServer) -> Counter[str]:
    # The schedules' runs of the next hour, which the server makes in advance.
    names = {
        one["id"]: one["name"] for one in server.api.post("/deployments/filter", json={}).raise_for_status().json()
    }
    hour = {"before_": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
    return Counter(
        names[run["deployment_id"]] for run in _scheduled(server) if run["expected_start_time"] < hour["before_"]
    )


def _scheduled(server: WatchedServer) -> list[dict[str, Any]]:
    return _runs(server, state={"type": {"any_": ["SCHEDULED"]}})


def _runs(server: WatchedServer, **of: Any) -> list[dict[str, Any]]:
    asked = {"flow_runs": of, "sort": "EXPECTED_START_TIME_ASC"}
    runs: list[dict[str, Any]] = server.api.post("/flow_runs/filter", json=asked).raise_for_status().json()
    return runs


def _let_schedules_pass(bench: Bench, server: WatchedServer, seconds: float) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    if any(run["expected_start_time"] < soon for run in _scheduled(server)):
        bench.say("waiting for the next scheduled runs to be over")
        time.sleep(seconds)
        _until(lambda: not _runs(server, state={"type": {"any_": ["RUNNING", "PENDING"]}}))
        time.sleep(_STORED_SECONDS)


def _until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while not reached():
        if time.monotonic() > end:
            raise RuntimeError("an idle installation does not become what it is measured as")
        time.sleep(0.1)
