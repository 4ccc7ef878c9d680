"""The figures are what the rows say, and measuring them reads no large table."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert, update

from bouncer.monitoring import measurement
from bouncer.monitoring.health import AccountHealth, AccountLimits, QueueHealth
from bouncer.monitoring.measurement import history, latest_metrics, measure_account, measure_queue, record_metrics
from bouncer.storage.dialects import database_now, is_sqlite
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch, BatchStatus, HealthMetric, Layer, QueuedContact, QueueStatus, RateLimitWindow
from tests.bouncer.contacts import ACCOUNT, batch_rows, new_request, queue, set_back, small_batches
from tests.bouncer.storage.existing_tables import execute, on_servers, on_sqlite
from tests.bouncer.storage.explaining import Explainer, rows_read


def _measure(engine: Engine) -> QueueHealth:
    return write(engine, measure_queue, ACCOUNT, Layer.BASIC, window_minutes=5, deadline_seconds=7200)


def _batch(engine: Engine, request: int, **values: Any) -> None:
    with engine.begin() as connection:
        now = database_now(connection)
        moments = {name: now - span for name, span in values.items() if isinstance(span, timedelta)}
        connection.execute(
            insert(Batch).values(user_id=1, request_id=request, account=ACCOUNT, **{**values, **moments})
        )


def test_the_queue_is_measured(engine: Engine) -> None:
    """What waits and for how long, what is at Bouncer and since when, what came back and what it cost."""
    request = new_request(engine)
    assert _measure(engine).oldest_waiting_seconds is None
    queue(engine, ["a@example.com", "b@example.com", "c@example.com"], request_id=request)
    queue(engine, ["d@example.com"], request_id=request, priority=100)
    with engine.begin() as connection:
        hour_ago = database_now(connection) - timedelta(hours=1)
        connection.execute(update(QueuedContact).where(QueuedContact.queue_id == 2).values(status=QueueStatus.FAILED))
        connection.execute(update(QueuedContact).where(QueuedContact.queue_id == 1).values(created_ts=hour_ago))
    minutes = timedelta(minutes=1)
    done = {"status": BatchStatus.COMPLETED, "quantity": 100}
    _batch(engine, request, **done, missing=10, credits=80, batch_id="b-1", completed_ts=2 * minutes)
    _batch(engine, request, **done, batch_id="b-2", completed_ts=30 * minutes)
    _batch(engine, request, **done, batch_id="b-3", completed_ts=90 * minutes)
    at_bouncer = {"status": BatchStatus.PROCESSING, "quantity": 5}
    runs = {**at_bouncer, "uploaded_ts": 300 * minutes, "running_ts": 290 * minutes}
    _batch(engine, request, **runs, batch_id="b-4", progress_ts=20 * minutes)
    _batch(engine, request, **runs, batch_id="b-5", progress_ts=140 * minutes)
    _batch(engine, request, status=BatchStatus.QUEUED, quantity=7)
    held = {"held_ts": minutes, "upload_begun_ts": minutes, "ambiguous_uploads": 1}
    _batch(engine, request, status=BatchStatus.QUEUED, quantity=11, **held)
    measured = _measure(engine)
    assert measured.oldest_waiting_seconds is not None
    assert 3600 <= measured.oldest_waiting_seconds < 3700
    assert (measured.backlog_contacts, measured.unsent_contacts) == (3, 7)
    assert (measured.batches_under_way, measured.batches_in_flight, measured.batches_held) == (3, 2, 1)
    assert measured.batches_overdue == 1
    assert (measured.settled_in_window, measured.settled_an_hour, measured.credits_an_hour) == (90, 190, 180)


def test_a_batch_that_is_queued_at_bouncer_has_no_deadline(engine: Engine) -> None:
    """One that waited behind somebody else's list was alerted as beyond its deadline, and somebody sent it again."""
    request = new_request(engine)
    assert _measure(engine).longest_queued is None
    for number, hours in enumerate((3, 9, 1)):
        ago = timedelta(hours=hours)
        at_bouncer = {"status": BatchStatus.PROCESSING, "batch_id": f"b-{number}", "quantity": 5}
        _batch(engine, request, **at_bouncer, uploaded_ts=ago, progress_ts=ago)
    measured = _measure(engine)
    assert (measured.batches_in_flight, measured.batches_overdue) == (3, 0)
    longest = measured.longest_queued
    assert longest is not None
    assert 9 * 3600 <= longest.seconds < 9 * 3600 + 60
    assert longest.since_ts == batch_rows(engine)[1].uploaded_ts
    assert longest.batch == batch_rows(engine)[1].id


def test_contacts_that_wait_in_batches_are_not_forgotten(engine: Engine) -> None:
    """Contacts of a batch that was never sent, or is held, wait too; those of a batch that Bouncer has do not."""
    (batch,) = small_batches(engine, 1)
    set_back(engine, QueuedContact.created_ts, 100_000)
    queue(engine, ["c@example.com"])

    def oldest() -> int:
        return _measure(engine).oldest_waiting_seconds or 0

    assert 100_000 <= oldest() < 100_100
    set_back(engine, Batch.upload_begun_ts, 90_000, Batch.id == batch)
    assert oldest() < 100
    set_back(engine, Batch.held_ts, 90_000, Batch.id == batch)
    assert 100_000 <= oldest() < 100_100
    with engine.begin() as connection:
        connection.execute(update(Batch).values(held_ts=None, status=BatchStatus.PROCESSING, batch_id="b-1"))
    assert oldest() < 100


def test_the_busier_minute_counts(engine: Engine) -> None:
    """Of the present minute and the last one the busier is told; what is older is not."""
    with engine.begin() as connection:
        minute = database_now(connection).replace(second=0, microsecond=0)
        for ago, count in ((0, 5), (1, 90), (3, 150)):
            start = minute - timedelta(minutes=ago)
            window = {"window_start_ts": start, "window_end_ts": start + timedelta(minutes=1)}
            connection.execute(insert(RateLimitWindow).values(account=ACCOUNT, request_count=count, **window))
    account: AccountHealth = read(
        engine, measure_account, ACCOUNT, window_minutes=5, limits=AccountLimits(15, 200, 180)
    )
    # Where a minute began in between, the busier one has just become too old.
    assert (account.requests_a_minute, account.rate_limit_percent) in {(90, 50), (5, 3)}


@on_sqlite
def test_a_long_queue_is_counted_now_and_then(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a million the count of the last ten minutes is used again; until then each check counts anew."""
    monkeypatch.setattr(measurement, "MANY_CONTACTS", 5)
    request = new_request(engine)
    queue(engine, [f"{number}@example.com" for number in range(5)], request_id=request)
    assert _measure(engine).backlog_contacts == 5
    queue(engine, ["6@example.com"], request_id=request)
    assert _measure(engine).backlog_contacts == 6
    queue(engine, ["7@example.com"], request_id=request)
    assert _measure(engine).backlog_contacts == 6
    with engine.begin() as connection:
        long_ago = database_now(connection) - timedelta(minutes=11)
        connection.execute(update(HealthMetric).values(recorded_ts=long_ago))
    assert _measure(engine).backlog_contacts == 7


def test_how_a_figure_has_gone(engine: Engine) -> None:
    """A day in half hours: the highest of each, the latest last, nothing where nobody looked."""
    with engine.begin() as connection:
        now = database_now(connection)
        for minutes_ago, value in ((1, 5), (2, 9), (65, 7), (24 * 60 - 5, 3), (25 * 60, 100)):
            moment = now - timedelta(minutes=minutes_ago)
            connection.execute(
                insert(HealthMetric).values(metric_name="backlog_contacts", metric_value=value, recorded_ts=moment)
            )
    gone = read(engine, history, ["backlog_contacts", "never"], hours=24, slots=48)
    assert gone["never"] == [None] * 48
    assert {at: value for at, value in enumerate(gone["backlog_contacts"]) if value is not None} == {0: 3, 45: 7, 47: 9}


def test_the_latest_figures_are_those_of_one_check(engine: Engine) -> None:
    """Figures that the last check did not have are not taken from an earlier one."""
    assert read(engine, latest_metrics) == (None, {})
    write(engine, record_metrics, {"backlog_contacts": 1, "credits_left": 100})
    write(engine, record_metrics, {"backlog_contacts": 2})
    checked, figures = read(engine, latest_metrics)
    assert checked is not None
    assert figures == {"backlog_contacts": 2}


_MANY = 20_000


def _long_queue(engine: Engine) -> None:
    request = new_request(engine)
    queue(engine, (f"{number}@example.com" for number in range(_MANY)), request_id=request)
    with engine.begin() as connection:
        connection.execute(
            update(QueuedContact).where(QueuedContact.queue_id > _MANY // 100).values(status=QueueStatus.COMPLETED)
        )
    if not is_sqlite(engine):
        execute(engine, "ANALYZE TABLE Bouncer_Queue")


def test_measuring_goes_by_index(engine: Engine) -> None:
    """With 20,000 contacts, of which few wait, no statement of a check scans the queue, the contacts or the results."""
    _long_queue(engine)
    explainer = Explainer(engine, "Bouncer_Queue", "Contacts_Global", "Bouncer_Results")
    _measure(engine)
    read(engine, measure_account, ACCOUNT, window_minutes=5, limits=AccountLimits(15, 200, 180))
    assert explainer.whole_tables == [], "\n".join(explainer.plans)


@on_servers
def test_measuring_reads_what_waits_and_little_more(engine: Engine) -> None:
    """How many rows MariaDB reads for a check depends on the contacts that wait, not on all that there ever were."""
    _long_queue(engine)

    def rows_of_a_check(connection: Any) -> int:
        before = rows_read(connection)
        measure_queue(connection, ACCOUNT, Layer.BASIC, window_minutes=5, deadline_seconds=7200)
        return rows_read(connection) - before

    assert write(engine, rows_of_a_check) < _MANY // 100 + 200
