"""Never more batches are in flight than the account may have, whatever dies, and none begins while it is paused."""

from collections import Counter
from functools import partial
from itertools import chain
from typing import Any

import pytest
from sqlalchemy import Engine, delete, insert

from bouncer.accounts import state as account_state
from bouncer.batches import admission, ownership, transitions
from bouncer.batches.admission import Admission
from bouncer.batches.state import BatchWork
from bouncer.batches.unsettled import unsettled
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch
from tests.bouncer.contacts import ACCOUNT, at_once, batch_rows, set_back, small_batches, take, upload

# A batch's row, its moments in seconds before now, and how many batches it counts for.
_IN_FLIGHT: list[tuple[dict[str, Any], dict[str, int], int]] = [
    ({"status": "processing", "batch_id": "b"}, {}, 1),
    ({"status": "processing", "batch_id": "b", "owner": "dead"}, {"heartbeat_ts": 600}, 1),
    ({"status": "processing", "batch_id": "b", "ambiguous_uploads": 1}, {"progress_ts": 10}, 2),
    ({"status": "processing", "batch_id": "b", "ambiguous_uploads": 1}, {"progress_ts": 600}, 1),
    ({"status": "processing", "batch_id": "b", "account": "deep"}, {}, 0),
    ({"status": "queued"}, {}, 0),
    ({"status": "queued", "batch_id": "of the plan's own program"}, {}, 1),
    ({"status": "queued"}, {"upload_begun_ts": 10}, 1),
    ({"status": "queued", "ambiguous_uploads": 1}, {"upload_begun_ts": 10, "progress_ts": 20}, 2),
    ({"status": "queued", "ambiguous_uploads": 2}, {"progress_ts": 10}, 2),
    ({"status": "queued", "ambiguous_uploads": 2}, {"progress_ts": 600}, 0),
    ({"status": "queued", "ambiguous_uploads": 1}, {"upload_begun_ts": 10, "progress_ts": 10, "held_ts": 10}, 1),
    ({"status": "queued", "ambiguous_uploads": 1}, {"upload_begun_ts": 8000, "held_ts": 8000}, 0),
    ({"status": "downloading", "batch_id": "b"}, {}, 0),
    ({"status": "completed", "batch_id": "b", "ambiguous_uploads": 1}, {"progress_ts": 10}, 0),
    ({"status": "failed", "batch_id": "b"}, {}, 0),
    ({"status": "failed", "ambiguous_uploads": 2}, {"progress_ts": 10, "completed_ts": 5}, 2),
    ({"status": "failed", "ambiguous_uploads": 2}, {"progress_ts": 600, "completed_ts": 5}, 0),
]


def _others(engine: Engine, **values: Any) -> None:
    """Makes the row of another batch, as another worker has left it."""
    first = batch_rows(engine)[0]
    row = {"user_id": first.user_id, "request_id": first.request_id, "quantity": 2, **values}
    write(engine, lambda c: c.execute(insert(Batch).values(row)))


def _admit(engine: Engine, work: BatchWork, most: int = 15) -> Admission:
    return write(engine, admission.admit_upload, work, most)


def test_never_more_in_flight_than_may_be(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """Eight workers that all want to upload at once are admitted up to the limit, and do not deadlock each other."""
    ids = small_batches(engine, 24)
    works = [take(engine, batch, f"worker {batch}") for batch in ids]

    def upload_mine(mine: list[BatchWork]) -> list[Admission]:
        return [_admit(engine, work, 7) for work in mine]

    outcomes = at_once([partial(upload_mine, works[start::8]) for start in range(8)])
    assert Counter(chain.from_iterable(outcomes)) == {Admission.ADMITTED: 7, Admission.FULL: 17}
    begun = [row.id for row in batch_rows(engine) if row.upload_begun_ts is not None]
    write(engine, transitions.record_upload, take(engine, begun[0], f"worker {begun[0]}"), "bouncer-1", 0)
    waiting = next(work for work in works if work.id not in begun)
    assert "asked for another try" not in caplog.text
    assert _admit(engine, waiting, 7) is Admission.FULL
    write(engine, transitions.record_verified, take(engine, begun[0], f"worker {begun[0]}"), 2)
    assert _admit(engine, waiting, 7) is Admission.ADMITTED


def test_what_counts_as_in_flight(engine: Engine) -> None:
    """All that Bouncer may be working on counts: of dead workers, lost uploads, and those held for a person."""
    (batch,) = small_batches(engine, 1)
    work = take(engine, batch)
    for row, ages, count in _IN_FLIGHT:
        write(engine, lambda c: c.execute(delete(Batch).where(Batch.id != batch)))
        _others(engine, **row)
        for name, seconds in ages.items():
            set_back(engine, getattr(Batch, name), seconds, Batch.id != batch)
        if count:
            assert _admit(engine, work, count) is Admission.FULL, (row, ages)
        assert _admit(engine, work, count + 1) is Admission.ADMITTED, (row, ages)
        write(engine, transitions.record_refused_upload, work)


def test_a_lost_upload_counts_beside_its_repetition(engine: Engine) -> None:
    """A run that lost an upload leaves room for the batch that Bouncer may have, until Bouncer must be done with it."""
    first, second = small_batches(engine, 2)
    upload(engine, first)
    work = take(engine, second)
    assert _admit(engine, work, 2) is Admission.ADMITTED
    write(engine, transitions.record_lost_upload, work, hold=False)
    assert _admit(engine, work, 2) is Admission.FULL
    assert _admit(engine, work, 3) is Admission.ADMITTED
    write(engine, transitions.record_refused_upload, work)
    set_back(engine, Batch.progress_ts, 120, Batch.id == second)
    assert _admit(engine, work, 2) is Admission.ADMITTED


def test_a_lost_upload_counts_after_its_request_is_cancelled(engine: Engine) -> None:
    """Bouncer may work on it all the same: two batches were in flight where the account may have one."""
    first, second = small_batches(engine, 2)
    work = take(engine, first)
    assert _admit(engine, work, 1) is Admission.ADMITTED
    write(engine, transitions.record_lost_upload, work, hold=False)
    write(engine, lambda c: transitions.withdraw(c, [first], "cancelled"))
    assert _admit(engine, take(engine, second), 1) is Admission.FULL
    set_back(engine, Batch.progress_ts, 120, Batch.id == first)
    assert _admit(engine, take(engine, second), 1) is Admission.ADMITTED


def test_no_upload_begins_while_the_account_is_paused(engine: Engine) -> None:
    """A pause holds uploads back and nothing else: what Bouncer has is gone on with."""
    first, second = small_batches(engine, 2)
    write(engine, ownership.release, upload(engine, first))
    write(engine, account_state.pause, ACCOUNT, by="me", reason="by hand")
    assert _admit(engine, take(engine, second)) is Admission.PAUSED
    write(engine, ownership.release, take(engine, second))
    waiting = read(engine, unsettled, [ACCOUNT])
    assert [(batch.title.id, batch.goes_on_while_paused) for batch in waiting] == [(first, True), (second, False)]
    write(engine, account_state.resume, ACCOUNT)
    assert _admit(engine, take(engine, second)) is Admission.ADMITTED
