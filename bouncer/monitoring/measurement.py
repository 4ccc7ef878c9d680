"""Measuring the figures of ``bouncer/monitoring/figures.py``, cheaply, and keeping them in ``Bouncer_Health_Metrics``.

Housekeeping may delete metrics whose ``recorded_ts`` is old; the dashboard looks 24 hours back. Nothing here reads a
large table each minute. The waiting contacts are counted in an index, each time while they are under a million and
every ten minutes above that; the rest is asked of batches, of which there is one for thousands of contacts.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from bouncer.accounts.call_statistics import count_calls, figures_of
from bouncer.accounts.state import read_state
from bouncer.batches.state import AT_BOUNCER, AWAITS_UPLOAD, IN_FLIGHT, UNSETTLED, BatchState, is_in, state_of
from bouncer.monitoring.health import AccountHealth, AccountLimits, QueuedBatch, QueueHealth
from bouncer.queue.waiting_contacts import oldest_waiting_seconds
from bouncer.requests.counting import count_batches, count_dead_letters
from bouncer.storage.dialects import age_seconds, database_now
from bouncer.storage.tables import (
    Account,
    Batch,
    HealthMetric,
    Layer,
    QueuedContact,
    QueueStatus,
    RateLimitWindow,
)
from bouncer.storage.transactions import reading, writing

__all__ = ["history", "latest_metrics", "measure_account", "measure_queue", "record_metrics"]

MANY_CONTACTS = 1_000_000
"""Up to so many waiting contacts are counted each time; it takes a fraction of a second."""

FULL_COUNT_SECONDS = 600
"""Age in seconds up to which a count of more than that is used again."""

DEADLINE_GRACE_SECONDS = 600
"""Seconds after its deadline for which a batch may still be at Bouncer: Bouncer finishes it early then, which takes a
moment."""

_WITH_DEADLINE = (AT_BOUNCER | {BatchState.VERIFIED}) - {BatchState.QUEUED_AT_BOUNCER}
"""States in which progress is expected; one that is queued at Bouncer waits for as long as it takes."""

_FULL_COUNT = "backlog_full_count_contacts"
"""The metric of such a count, with the layer behind it."""


@writing
def measure_queue(
    connection: Connection, account: str, layer: Layer, *, window_minutes: int, deadline_seconds: float
) -> QueueHealth:
    """Measures the queue and the batches of an account.

    Args:
        connection: In a transaction that writes: a count that took long is kept for a while.
        account: The name of the account block.
        layer: The layer that it serves, whose contacts wait for it.
        window_minutes: Over how many minutes the rate is taken.
        deadline_seconds: How long a batch may be at Bouncer without progress.
    """
    batches = _batches_under_way(connection, account)
    longest = deadline_seconds + DEADLINE_GRACE_SECONDS
    ever = count_batches(connection)
    settled_in_window, _ = _settled(connection, account, timedelta(minutes=window_minutes))
    settled_an_hour, credits_an_hour = _settled(connection, account, timedelta(hours=1))
    return QueueHealth(
        backlog_contacts=_count_waiting(connection, layer),
        oldest_waiting_seconds=oldest_waiting_seconds(connection, layer),
        batches_under_way=sum(one.state != BatchState.HELD for one in batches),
        batches_in_flight=sum(one.state in IN_FLIGHT for one in batches),
        batches_held=sum(one.state == BatchState.HELD for one in batches),
        batches_overdue=sum(one.state in _WITH_DEADLINE and one.idle > longest for one in batches),
        longest_queued=_longest_queued(batches),
        unsent_contacts=sum(one.quantity for one in batches if one.state in AWAITS_UPLOAD),
        settled_in_window=settled_in_window,
        settled_an_hour=settled_an_hour,
        credits_an_hour=credits_an_hour,
        dead_letters=count_dead_letters(connection),
        possible_double_payments=ever.possible_double_payments,
    )


@reading
def measure_account(
    connection: Connection, account: str, *, window_minutes: int, limits: AccountLimits
) -> AccountHealth:
    """Measures what all workers share about an account, and how its calls went in the last minutes."""
    tallies = count_calls(connection, account, window_minutes)
    paused = connection.scalar(select(age_seconds(Account.paused_ts)).where(Account.account == account))
    minute = database_now(connection).replace(second=0, microsecond=0)
    busiest = connection.scalar(
        select(func.max(RateLimitWindow.request_count)).where(
            RateLimitWindow.account == account, RateLimitWindow.window_start_ts >= minute - timedelta(minutes=1)
        )
    )
    return AccountHealth(
        state=read_state(connection, account),
        paused_seconds=None if paused is None else int(paused),
        requests_a_minute=busiest or 0,
        limits=limits,
        calls=figures_of(tallies),
        by_call={call: figures_of(tallies, call) for call in sorted({one.call for one in tallies})},
    )


@writing
def record_metrics(connection: Connection, metrics: Mapping[str, int]) -> None:
    """Writes figures down, all with the present time."""
    connection.execute(
        insert(HealthMetric), [{"metric_name": name, "metric_value": value} for name, value in metrics.items()]
    )


def _batches_under_way(connection: Connection, account: str) -> list[Row[Any]]:
    taken = func.coalesce(Batch.uploaded_ts, Batch.created_ts)
    idle = age_seconds(func.coalesce(Batch.progress_ts, taken))
    return list(
        connection.execute(
            select(
                Batch.id,
                Batch.quantity,
                state_of(),
                idle.label("idle"),
                taken.label("taken_ts"),
                age_seconds(taken).label("taken_seconds"),
            )
            .where(Batch.account == account, is_in(*UNSETTLED))
            .order_by(Batch.id)
        )
    )


def _longest_queued(batches: Iterable[Row[Any]]) -> QueuedBatch | None:
    queued = [one for one in batches if one.state == BatchState.QUEUED_AT_BOUNCER]
    longest = max(queued, key=lambda one: one.taken_seconds, default=None)
    return None if longest is None else QueuedBatch(longest.id, longest.taken_ts, int(longest.taken_seconds))


def _settled(connection: Connection, account: str, span: timedelta) -> tuple[int, int]:
    addresses, charged = connection.execute(
        select(func.sum(Batch.quantity - Batch.missing), func.sum(func.coalesce(Batch.credits, Batch.quantity))).where(
            Batch.completed_ts >= database_now(connection) - span,
            Batch.account == account,
            is_in(BatchState.COMPLETED),
        )
    ).one()
    return int(addresses or 0), int(charged or 0)


def _count_waiting(connection: Connection, layer: Layer) -> int:
    full_count = f"{_FULL_COUNT}.{layer}"
    counted = connection.scalar(
        select(HealthMetric.metric_value)
        .where(
            HealthMetric.metric_name == full_count,
            HealthMetric.recorded_ts > database_now(connection) - timedelta(seconds=FULL_COUNT_SECONDS),
        )
        .order_by(HealthMetric.recorded_ts.desc())
        .limit(1)
    )
    if counted is not None:
        return counted
    waiting = (
        connection.scalar(
            select(func.count()).where(QueuedContact.status == QueueStatus.QUEUED, QueuedContact.layer == layer)
        )
        or 0
    )
    if waiting > MANY_CONTACTS:
        record_metrics(connection, {full_count: waiting})
    return waiting


def latest_metrics(connection: Connection) -> tuple[datetime | None, dict[str, int]]:
    """Reads the figures of the last check, and when it was; nothing where there was none."""
    last = connection.execute(
        select(HealthMetric.id, HealthMetric.recorded_ts)
        .where(HealthMetric.metric_name == "backlog_contacts")
        .order_by(HealthMetric.recorded_ts.desc(), HealthMetric.id.desc())
        .limit(1)
    ).one_or_none()
    if last is None:
        return None, {}
    # A check writes its figures in one statement, so their numbers follow that of the first.
    rows = connection.execute(
        select(HealthMetric.metric_name, HealthMetric.metric_value)
        .where(HealthMetric.id >= last.id, HealthMetric.metric_name.not_like(f"{_FULL_COUNT}%"))
        .order_by(HealthMetric.id)
    ).all()
    return last.recorded_ts, {row.metric_name: row.metric_value for row in rows}


@reading
def history(connection: Connection, names: list[str], *, hours: int, slots: int) -> dict[str, list[int | None]]:
    """Reads how figures have gone.

    Args:
        connection: In a transaction.
        names: The figures.
        hours: How far back.
        slots: Into how many equal stretches that is cut.

    Returns:
        For each figure its highest value in each stretch, the latest stretch last; None where there was no check.
    """
    seconds = hours * 3600 // slots
    rows = connection.execute(
        select(HealthMetric.metric_name, age_seconds(HealthMetric.recorded_ts), HealthMetric.metric_value).where(
            HealthMetric.metric_name.in_(names),
            HealthMetric.recorded_ts >= database_now(connection) - timedelta(hours=hours),
        )
    )
    found: dict[str, dict[int, int]] = defaultdict(dict)
    for name, age, value in rows:
        slot = slots - 1 - min(int(age) // seconds, slots - 1)
        found[name][slot] = max(found[name].get(slot, value), value)
    return {name: [found[name].get(slot) for slot in range(slots)] for name in names}
