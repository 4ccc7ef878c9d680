"""Whatever a batch was at when one of its people is erased, it comes to its end without them."""

import pytest
from sqlalchemy import Engine

from bouncer.batches import admission, transitions
from bouncer.batches.admission import Admission
from bouncer.costs.ledger import take_ledger
from bouncer.errors import OwnershipLost
from bouncer.storage.engine import read, write
from bouncer.upkeep import deletions
from tests.bouncer.contacts import (
    ACCOUNT,
    batch_rows,
    claim,
    load_verdicts,
    queue_rows,
    sent,
    take,
    upload,
    verdicts,
    verify,
)
from tests.bouncer.erasure.people import ANN, BOB, assert_gone, erase, one_batch


@pytest.mark.parametrize("verified", [False, True])
def test_a_late_load_brings_nobody_back(engine: Engine, verified: bool) -> None:
    """Erased while Bouncer had the batch: its load stores the others, and the batch is deleted there."""
    id_ = one_batch(engine, ANN, BOB)
    batch = verify(engine, id_) if verified else upload(engine, id_)
    assert erase(engine).batches_at_bouncer == 1
    assert read(engine, deletions.to_delete, ACCOUNT, every=False) == []
    if not verified:
        write(engine, transitions.record_verified, batch, 2)
        batch = take(engine, id_)
    assert load_verdicts(engine, batch, verdicts([ANN, BOB])).settled == 1
    assert_gone(engine)
    assert [row.status for row in queue_rows(engine)] == ["completed"]
    assert read(engine, deletions.to_delete, ACCOUNT, every=False) == [(id_, f"bouncer-{id_}")]


def test_a_batch_that_bouncer_has_deleted_is_not_promised_again(engine: Engine) -> None:
    """The second person of one batch: there is nothing left to ask Bouncer for."""
    batch = one_batch(engine, ANN, BOB)
    load_verdicts(engine, verify(engine, batch), verdicts([ANN, BOB]))
    assert erase(engine).batches_to_delete == 1
    write(engine, deletions.note_deleted, batch)
    assert erase(engine, BOB).batches_to_delete == 0
    assert read(engine, deletions.to_delete, ACCOUNT, every=False) == []


def test_a_batch_of_nobody_else_comes_to_its_end(engine: Engine) -> None:
    """All of its addresses erased, it is loaded as it is, and its request is not stuck."""
    batch = upload(engine, one_batch(engine, ANN))
    erase(engine)
    write(engine, transitions.record_verified, batch, 1)
    assert load_verdicts(engine, take(engine, batch.id), verdicts([ANN])).unmatched == 0
    (row,) = batch_rows(engine)
    assert (row.status, row.credits, row.expected_credits) == ("completed", 1, 1)
    assert_gone(engine)


def test_what_was_not_sent_is_never_sent(engine: Engine) -> None:
    """A run that has read the addresses of a batch finds it gone; the other contacts are claimed anew."""
    id_ = one_batch(engine, ANN, BOB)
    work = take(engine, id_)
    assert len(sent(engine, id_)) == 2
    assert erase(engine).batches_undone == 1
    with pytest.raises(OwnershipLost):
        write(engine, admission.admit_upload, work, 15)
    (again,) = claim(engine, batches=1).batches
    assert sent(engine, again.id) == [BOB]


def test_a_refused_upload_is_not_repeated_with_the_erased(engine: Engine) -> None:
    """Erased while an upload waited for its answer, an address is not in the next try of that upload."""
    id_ = one_batch(engine, ANN, BOB)
    work = take(engine, id_)
    read_before = read(engine, admission.erased_so_far, id_)
    assert write(engine, admission.admit_upload, work, 15, erased=read_before) is Admission.ADMITTED
    erase(engine)
    write(engine, transitions.record_refused_upload, work)
    assert write(engine, admission.admit_upload, work, 15, erased=read_before) is Admission.ERASED
    assert sent(engine, id_) == [BOB]


def test_a_lost_upload_stays_counted(engine: Engine) -> None:
    """Its batch is undone, its possible double payment stays in the ledger, and nobody claims that Bouncer forgets."""
    id_ = one_batch(engine, ANN, BOB)
    work = take(engine, id_)
    write(engine, admission.admit_upload, work, 15)
    write(engine, transitions.record_lost_upload, work, hold=False)
    report = erase(engine)
    assert any("lost" in place for place in report.not_reached)
    assert read(engine, take_ledger).total.maybe_paid_twice == 2
    assert_gone(engine)
