"""Housekeeping takes what is too old and nothing else, a little at a time."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, event, func, insert, select, update

from bouncer.batches import transitions
from bouncer.storage.dialects import database_now
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch, CallCount, HealthMetric, RateLimitWindow, Result
from bouncer.upkeep import retention
from bouncer.upkeep.retention import OLD_ROWS
from tests.bouncer.contacts import (
    ACCOUNT,
    batch_rows,
    load_verdicts,
    queue_rows,
    sent,
    set_back,
    small_batches,
    take,
    upload,
    verdicts,
    verify,
)
from tests.bouncer.storage.existing_tables import execute, rows

_DAY = 86_400


def _windows(engine: Engine, ages_in_days: list[float]) -> None:
    def insert_all(connection: Connection) -> None:
        now = database_now(connection)
        for age in ages_in_days:
            end = now - timedelta(days=age)
            values = {"request_count": 1, "window_start_ts": end - timedelta(minutes=1), "window_end_ts": end}
            connection.execute(insert(RateLimitWindow).values(values))

    write(engine, insert_all)


def _tidy(engine: Engine, field: str, days: float) -> int:
    old = OLD_ROWS[field]
    after, deleted = None, 0
    while found := read(engine, retention.find_old_rows, old, days=days, after=after):
        deleted += write(engine, retention.delete_rows, old, found)
        after = found[-1]
    return deleted


def test_counts_of_requests_go_by_their_age(engine: Engine) -> None:
    """The minutes of the last days stay, older ones go, in whatever order they were written."""
    _windows(engine, [9, 1, 8, 0, 6.9])
    assert _tidy(engine, "rate_limit_days", 7) == 2
    assert _tidy(engine, "rate_limit_days", 7) == 0
    assert len(rows(engine, "Bouncer_Rate_Limit")["Bouncer_Rate_Limit"]) == 3


def test_counts_of_calls_go_by_the_minute(engine: Engine) -> None:
    """All rows of a minute that is too old go, with every call and outcome; the last days stay."""

    def insert_all(connection: Connection) -> None:
        now = database_now(connection)
        for age, call in ((31, "create"), (31, "status"), (29, "create")):
            minute = now - timedelta(days=age)
            values = {"account": ACCOUNT, "call": call, "outcome": "answered", "up_to_ms": 100}
            connection.execute(insert(CallCount).values(window_start_ts=minute, **values))

    write(engine, insert_all)
    assert _tidy(engine, "call_days", 30) == 2
    assert [row["call"] for row in rows(engine, "Bouncer_Calls")["Bouncer_Calls"]] == ["create"]


def test_many_old_figures_go_in_small_steps(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows are too old, no transaction deletes more than a chunk of them."""
    monkeypatch.setattr(retention, "_CHUNK_ROWS", 100)
    write(engine, lambda c: c.execute(insert(HealthMetric), [{"metric_name": "m", "metric_value": 1}] * 250))
    set_back(engine, HealthMetric.recorded_ts, 31 * _DAY, HealthMetric.id <= 240)
    deleted: list[int] = []
    event.listen(engine, "after_cursor_execute", lambda _c, cursor, text, *_: _note(deleted, cursor, text))
    assert _tidy(engine, "metric_days", 30) == 240
    assert deleted == [100, 100, 40]


def _note(deleted: list[int], cursor: object, statement: str) -> None:
    if statement.startswith("DELETE"):
        deleted.append(cursor.rowcount)  # type: ignore[attr-defined]  # a cursor's, which SQLAlchemy types loosely


def test_results_go_with_the_age_of_their_batch(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Details of old batches go; the contacts keep their verdict, and newer batches keep their details."""
    monkeypatch.setattr(retention, "_CHUNK_ROWS", 1)
    old, new = small_batches(engine, 2)
    for batch in (old, new):
        load_verdicts(engine, verify(engine, batch), verdicts(sent(engine, batch)))
    set_back(engine, Batch.completed_ts, 100 * _DAY, Batch.id == old)
    assert read(engine, retention.find_batches_with_old_results, days=91) == [old]
    deleted = 0
    while some := write(engine, retention.delete_results, old):
        assert some == 1
        deleted += some
    assert deleted == 2
    assert read(engine, retention.find_batches_with_old_results, days=91) == []
    left = read(engine, lambda c: list(c.execute(select(Result.batch_id, func.count()).group_by(Result.batch_id))))
    assert left == [(new, 2)]
    assert {(row.status, row.bouncer_status) for row in queue_rows(engine)} == {("completed", "deliverable")}


def test_batches_under_way_keep_their_results(engine: Engine) -> None:
    """A batch that is not at its end is never too old, however long it takes."""
    (batch,) = small_batches(engine, 1)
    verify(engine, batch)
    set_back(engine, Batch.updated_ts, 400 * _DAY)
    set_back(engine, Batch.created_ts, 400 * _DAY)
    assert read(engine, retention.find_batches_with_old_results, days=91) == []


def test_batches_whose_contacts_are_gone_are_closed(engine: Engine) -> None:
    """A batch that nobody waits for any more stops counting as in flight; one with contacts, or an owner, stays."""
    empty, full, owned = small_batches(engine, 3)
    upload(engine, empty)
    execute(engine, f"DELETE FROM Bouncer_Queue WHERE batch_id IN ({empty}, {owned})")
    write(engine, lambda c: c.execute(update(Batch).values(owner=None)))
    assert read(engine, retention.find_empty_batches, ACCOUNT) == []
    set_back(engine, Batch.updated_ts, 2 * 3600)
    write(engine, lambda c: c.execute(update(Batch).values(updated_ts=Batch.updated_ts)))
    assert take(engine, owned)
    assert read(engine, retention.find_empty_batches, ACCOUNT) == [(empty, f"bouncer-{empty}")]
    assert write(engine, transitions.close_empty, empty)
    assert not write(engine, transitions.close_empty, empty)
    assert not write(engine, transitions.close_empty, owned)
    assert [(row.id, row.status) for row in batch_rows(engine)] == [
        (empty, "failed"),
        (full, "queued"),
        (owned, "queued"),
    ]
