"""No statement of a claim or a load reads a whole table, however long the queue is."""

import pytest
from sqlalchemy import Connection, Engine

from bouncer.batches.load import load
from bouncer.queue.claiming import claim
from bouncer.queue.due_second_chances import take_second_chances
from bouncer.repeats.deep_pass import Risk, pick_some
from bouncer.storage.dialects import is_sqlite
from bouncer.storage.engine import write
from bouncer.storage.tables import Request
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.matching import prepare
from tests.bouncer.contacts import ACCOUNT, new_request, queue, sent, set_back, verdicts, verify
from tests.bouncer.storage.existing_tables import execute, on_servers
from tests.bouncer.storage.explaining import Explainer, rows_read

_LARGE = ("Bouncer_Queue", "Contacts_Global", "Bouncer_Results")
_ROWS = 20_000
_BATCH = 500


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
