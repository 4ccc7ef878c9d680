"""Measuring: how the queue, the account, Bouncer, the Prefect server and the runs are doing."""

import resource
import sys
import time
from asyncio import timeout
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType, WorkerStatus
from prefect.exceptions import ObjectNotFound
from sqlalchemy import Connection, select

from blocks.access import Access
from blocks.last_database import last_database
from blocks.limits import token_bucket
from bouncer.accounts import circuit_breaker
from bouncer.accounts import state as account_state
from bouncer.accounts.call_statistics import ANSWERED, count_calls
from bouncer.accounts.circuit_breaker import State
from bouncer.accounts.state import AccountState, read_state
from bouncer.errors import BouncerUnavailable, KeyRefused, LimitsMissing, RateLimited, UnexpectedAnswer
from bouncer.installation import here
from bouncer.monitoring.figures import kept_figures
from bouncer.monitoring.health import AccountLimits, Health, ServiceHealth
from bouncer.monitoring.measurement import measure_account, measure_queue, record_metrics
from bouncer.monitoring.thresholds import Thresholds
from bouncer.storage.identity import database_id
from bouncer.storage.tables import Layer
from bouncer.storage.transactions import reading

__all__ = ["count_workers", "measure"]

_CREDITS_SECONDS = 60.0
"""Most seconds since the credits were read: ingest asks for them too, and all together may ask 10 times a minute."""

_PATIENCE_SECONDS = 20.0
"""Seconds that Bouncer has for an answer; the next check is due in a minute."""


async def measure(accounts: Sequence[Access], everyone: Sequence[Access], thresholds: Thresholds) -> list[Health]:
    """Measures everything, and keeps the figures in ``Bouncer_Health_Metrics``.

    Safe to run twice: each run adds the figures of its own moment.

    Args:
        accounts: The accounts to look at.
        everyone: All accounts over the one database; the first speaks for what they share, whoever is looked at.
        thresholds: Of which the window is taken.

    Returns:
        The figures of each account.

    Raises:
        DatabaseUnavailable: The database did not come back in time.
    """
    first = accounts[0]
    began = time.monotonic()
    await _ask_nothing(first)
    database_ms = _ms_since(began)
    async with get_client() as client:
        began = time.monotonic()
        await client.request("GET", "/health")
        prefect_ms = _ms_since(began)
        failures, late = await _count_failed_runs(client), await _count_late_runs(client)
        workers = await count_workers(client) or 0
    last = await last_database()
    same_database = last is None or last == await database_id(first)
    found = []
    for access in accounts:
        trouble, is_known = await _ask_bouncer(access)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        service = ServiceHealth(
            database_ms=database_ms,
            prefect_ms=prefect_ms,
            bouncer_trouble=trouble,
            bouncer_known=is_known,
            worker_failures_an_hour=failures,
            late_runs=late,
            workers_online=workers,
            # Linux tells kilobytes, macOS bytes.
            run_memory_mb=usage.ru_maxrss // (1024 if sys.platform != "darwin" else 1024**2),
            run_cpu_ms=round(1000 * (usage.ru_utime + usage.ru_stime)),
            same_database=same_database,
        )
        found.append(await _measure_one(access, service, thresholds.window_minutes))
    states = {access.name: await read_state(first, access.name) for access in everyone}
    healths = _led(accounts, everyone, found, states)
    for access, health in zip(accounts, healths, strict=True):
        await record_metrics(access, kept_figures(health))
    return healths


async def _measure_one(access: Access, service: ServiceHealth, window_minutes: int) -> Health:
    queue = await measure_queue(
        access,
        access.name,
        access.layer,
        window_minutes=window_minutes,
        deadline_seconds=access.account.batch_deadline_seconds,
    )
    a_minute = access.account.rate_limit_per_minute
    _, decay = token_bucket(a_minute)
    account = await measure_account(
        access,
        access.name,
        window_minutes=window_minutes,
        limits=AccountLimits(access.account.max_concurrent_batches, a_minute, steady_a_minute=round(60 * decay)),
    )
    return Health(queue, account, service, window_minutes)


def _led(
    accounts: Sequence[Access],
    everyone: Sequence[Access],
    healths: Sequence[Health],
    states: Mapping[str, AccountState],
) -> list[Health]:
    # By all accounts: were one of a few the leader, its figures would pass for those of the first account.
    credits_left: dict[Layer, list[int | None]] = defaultdict(list)
    leaders: dict[Layer, str] = {}
    for access in everyone:
        credits_left[access.layer].append(states[access.name].credits)
        leaders.setdefault(access.layer, access.name)
    found = []
    for access, health in zip(accounts, healths, strict=True):
        of_layer = credits_left[access.layer]
        found.append(
            replace(
                health,
                leads=access.name == everyone[0].name,
                leads_layer=access.name == leaders[access.layer],
                layer_credits=None if None in of_layer else sum(one or 0 for one in of_layer),
            )
        )
    return found


@reading
def _ask_nothing(connection: Connection) -> None:
    connection.execute(select(1)).all()


def _ms_since(began: float) -> int:
    return round(1000 * (time.monotonic() - began))


async def _ask_bouncer(access: Access) -> tuple[str | None, bool]:  # noqa: PLR0911  # one return an outcome
    """Returns why Bouncer cannot be used, or None, and whether that is known at all."""
    state = await account_state.read_state(access, access.name)
    if state.breaker_state != State.CLOSED:
        if await circuit_breaker.seconds_closed(access, access.name) > 0:
            return "the circuit breaker is open: Bouncer has failed several calls in a row", True
        # Where no contact waits, nobody else would send the probe that finds Bouncer back.
    else:
        age = await account_state.credits_age_seconds(access, access.name)
        if age is not None and age < _CREDITS_SECONDS:
            return None, True
    try:
        async with timeout(_PATIENCE_SECONDS):
            await account_state.record_credits(access, access.name, await access.client.credits())
    except (RateLimited, UnexpectedAnswer):
        return None, False
    except TimeoutError:
        # Where the others get answers, this request has only waited for its turn at the rate limit.
        if any(tally.outcome == ANSWERED for tally in await count_calls(access, access.name, 1)):
            return None, False
        return f"Bouncer has not answered within {_PATIENCE_SECONDS:.0f} s", True
    except (KeyRefused, BouncerUnavailable, LimitsMissing) as error:
        return str(error), True
    return None, True


async def _count_failed_runs(client: PrefectClient) -> int:
    ended_badly = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.FAILED, StateType.CRASHED])),
        end_time=FlowRunFilterEndTime(after_=datetime.now(UTC) - timedelta(hours=1)),
        tags=_ours(),
    )
    return await client.count_flow_runs(flow_run_filter=ended_badly)


async def _count_late_runs(client: PrefectClient) -> int:
    late = FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Late"])), tags=_ours())
    return await client.count_flow_runs(flow_run_filter=late)


async def count_workers(client: PrefectClient, pool: str | None = None) -> int | None:
    """Counts the workers that are online.

    Args:
        client: Of the Prefect server.
        pool: Of which work pool; of the pool that runs of verify-batch go to if left at None.

    Returns:
        How many, or None where there is no pool.
    """
    try:
        pool = pool or (await client.read_deployment_by_name(here().deployment_of("verify-batch"))).work_pool_name
        if pool is None:
            return None
        await client.read_work_pool(pool)
    except ObjectNotFound:
        return None
    workers = await client.read_workers_for_work_pool(pool)
    return sum(worker.status == WorkerStatus.ONLINE for worker in workers)


def _ours() -> FlowRunFilterTags:
    return FlowRunFilterTags(all_=[here().tag])
