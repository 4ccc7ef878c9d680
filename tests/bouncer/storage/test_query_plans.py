"""No statement reads a whole table, however long the queue is, and no look reads what is at rest."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, Engine, insert

from bouncer.batches.load import load
from bouncer.monitoring.status import count_everything, take_stock
from bouncer.queue.claiming import claim
from bouncer.queue.due_second_chances import take_second_chances
from bouncer.repeats.deep_pass import Risk, pick_some
from bouncer.repeats.reverification import Old, reverify
from bouncer.requests.cancelling import prospect
from bouncer.requests.counting import count_verdicts
from bouncer.requests.kept_counts import keep_counts, requests_with_contacts
from bouncer.requests.overview import list_requests
from bouncer.requests.requeueing import requeue
from bouncer.requests.work_of_others import stand
from bouncer.storage.dialects import is_sqlite
from bouncer.storage.engine import read, write
from bouncer.storage.tables import HealthMetric, Request
from bouncer.upkeep.retention import OLD_ROWS, find_batches_with_old_results, find_empty_batches, find_old_rows
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.matching import prepare
from tests.bouncer.contacts import ACCOUNT, new_request, queue, sent, set_back, verdicts, verify
from tests.bouncer.contacts import claim as claim_contacts
from tests.bouncer.storage.existing_tables import execute, on_servers
from tests.bouncer.storage.explaining import Explainer, rows_read

_LARGE = ("Bouncer_Queue", "Contacts_Global", "Bouncer_Results")
_ROWS = 20_000
_BATCH = 500
_FEW = 100


def _claim(connection: Connection, request_id: int | None) -> int:
    claimed = claim(connection, ACCOUNT, batches=1, batch_size=_BATCH, fresh_for=FreshFor(), request_id=request_id)
    return claimed.batches[0].id if claimed.batches else 0


@pytest.mark.parametrize("of_one_request", [False, True])
def test_claims_and_loads_go_by_index(engine: Engine, of_one_request: bool) -> None:
    """With 30,000 contacts in the queue neither a claim nor a load, nor a claim that finds verdicts, scans a table."""
    request = _long_queue(engine)
    explainer = Explainer(engine, *_LARGE)
    batch = write(engine, _claim, request if of_one_request else None)
    write(engine, load, verify(engine, batch), prepare(verdicts(sent(engine, batch))))
    queue(engine, (address.upper() for address in _addresses()[:_BATCH]), request_id=request, priority=99)
    write(engine, _claim, request if of_one_request else None)
    assert explainer.whole_tables == [], "\n".join(explainer.plans)
    assert any("idx_bouncer_address_key" in plan for plan in explainer.plans)


@on_servers
def test_a_claim_reads_little_more_than_it_takes(engine: Engine) -> None:
    """How many rows MariaDB reads for a claim depends on the claim, not on the queue or on what is under way."""
    request = _long_queue(engine)
    queue(engine, (f"c{number}@example.com" for number in range(_ROWS // 2)), priority=99)
    counts = [write(engine, _rows_read_by_a_claim, only) for only in (None, request) * 4]
    assert max(counts) < 25 * _BATCH


@on_servers
def test_a_claim_right_after_an_import_goes_by_index(engine: Engine) -> None:
    """Before the server has counted the new rows too; where it takes them for few, a claim took minutes."""
    execute(engine, *(f"ALTER TABLE {table} STATS_AUTO_RECALC = 0" for table in _LARGE))
    queue(engine, _addresses()[: 2 * _BATCH])
    explainer = Explainer(engine, *_LARGE)
    assert write(engine, _claim, None) > 0
    assert explainer.whole_tables == [], "\n".join(explainer.plans)


def _long_queue(engine: Engine) -> int:
    large, small = new_request(engine), new_request(engine)
    queue(engine, _addresses(), request_id=large)
    queue(engine, (f"b{number}@example.com" for number in range(_ROWS // 2)), request_id=small)
    if not is_sqlite(engine):
        execute(engine, *(f"ANALYZE TABLE {table}" for table in _LARGE))
    return large


def _addresses() -> list[str]:
    return [f"a{number}@example{number % 50}.com" for number in range(_ROWS)]


def _rows_read_by_a_claim(connection: Connection, request_id: int | None) -> int:
    before = rows_read(connection)
    assert _claim(connection, request_id) > 0
    return rows_read(connection) - before


def test_deep_passes_and_second_chances_go_by_index(engine: Engine) -> None:
    """Neither picking risky contacts nor queueing unclear ones again scans a table, however many others there are."""
    request = _long_queue(engine)
    batch = write(engine, _claim, request)
    unclear = {"status": "unknown", "score": 10, "retryAfter": "2020-01-01T00:00:00Z"}
    write(engine, load, verify(engine, batch), prepare(verdicts(sent(engine, batch), **unclear)))
    set_back(engine, Request.bouncer_completed_ts, 0, Request.request_id == request)
    explainer = Explainer(engine, *_LARGE)
    picked = write(engine, pick_some, request, Risk(), after=0, fresh_days=90, again=False)
    assert picked.picked == _BATCH
    assert write(engine, take_second_chances, _BATCH) == (_BATCH, _BATCH)
    assert explainer.whole_tables == [], "\n".join(explainer.plans)


@on_servers
def test_what_people_look_at_reads_no_more_than_the_work(engine: Engine) -> None:
    """With 20,000 contacts at rest and a few that wait or failed, no look, dry run or upkeep reads those at rest."""
    live = _mostly_at_rest(engine)
    looks: dict[str, Callable[[], object]] = {
        "status": lambda: read(engine, _look_at_status),
        "requests": lambda: list_requests(engine),
        "requeue --dry-run": lambda: requeue(engine, dry_run=True),
        "cancel --dry-run": lambda: prospect(engine, live),
        "reverify --dry-run": lambda: reverify(engine, Old(180), monthly_budget=_BATCH, dry_run=True),
        "reverify --dry-run --status": lambda: reverify(engine, Old(9, ["risky"]), monthly_budget=9, dry_run=True),
        "reverify": lambda: reverify(engine, Old(180), monthly_budget=10),
        "verify-risky": lambda: requests_with_contacts(engine),
        "ingest": lambda: [stand(engine, None, None), count_verdicts(engine)],
        "housekeeping": lambda: [
            keep_counts(engine),
            *(find_old_rows(engine, old, days=7) for old in OLD_ROWS.values()),
            find_batches_with_old_results(engine, days=365),
            find_empty_batches(engine, ACCOUNT),
        ],
    }
    explainer = Explainer(engine, *_LARGE)
    read_by = {what: _rows_read_by(engine, look) for what, look in looks.items()}
    assert explainer.whole_tables == [], "\n".join(explainer.plans)
    assert max(read_by.values()) < _ROWS // 4, read_by


def _look_at_status(connection: Connection) -> None:
    take_stock(connection, count_everything(connection), most_batches=15, most_requests_a_minute=200)


def _rows_read_by(engine: Engine, look: Callable[[], object]) -> int:
    # The server is this process's own, and nobody else asks it anything now.
    with engine.connect() as connection:
        before = rows_read(connection, "GLOBAL")
        look()
        return rows_read(connection, "GLOBAL") - before


def _mostly_at_rest(engine: Engine) -> int:
    settled, live = new_request(engine), new_request(engine)
    queue(engine, _addresses(), request_id=settled)
    (batch,) = claim_contacts(engine, batches=1, batch_size=1, request_id=settled).batches
    execute(
        engine,
        f"UPDATE Bouncer_Batches SET status = 'completed', completed_ts = CURRENT_TIMESTAMP WHERE id = {batch.id}",
        f"UPDATE Bouncer_Queue SET status = 'completed', attempts = 1, batch_id = {batch.id}",
        # A few verdicts are old, the others of today.
        f"UPDATE Contacts_Global SET bouncer_status = IF(MOD(global_id, 10), 'deliverable', 'risky'),"
        f" bouncer_verified_ts = CURRENT_TIMESTAMP - INTERVAL (global_id <= {_FEW}) YEAR",
        "INSERT INTO Bouncer_Results (batch_id, global_id, bouncer_status)"
        f" SELECT {batch.id}, global_id, bouncer_status FROM Contacts_Global",
        "UPDATE Requests SET bouncer_queued = 0, bouncer_completed_ts = bouncer_counted_ts, bouncer_announced_ts ="
        f" bouncer_counted_ts WHERE request_id = {settled}",
    )
    queue(engine, (f"b{number}@example.com" for number in range(2 * _FEW)), request_id=live)
    write(engine, lambda c: c.execute(insert(HealthMetric), [{"metric_name": "m", "metric_value": 1}] * _ROWS))
    execute(
        engine,
        f"UPDATE Bouncer_Queue SET status = 'failed', attempts = 1 WHERE request_id = {live} LIMIT {_FEW}",
        *(f"ANALYZE TABLE {table}" for table in (*_LARGE, "Requests", "Bouncer_Health_Metrics")),
    )
    assert keep_counts(engine) == 1
    return live
