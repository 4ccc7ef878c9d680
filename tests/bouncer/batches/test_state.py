"""Each batch has one owner, goes on from the step that it has reached, and is never paid for again by a successor."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, select, update

from bouncer.batches import admission, ownership, transitions
from bouncer.batches.admission import Admission
from bouncer.batches.ownership import STALE_SECONDS
from bouncer.batches.state import SETTLED, BatchState, BatchWork
from bouncer.batches.unsettled import ownerless, unsettled
from bouncer.errors import OwnershipLost
from bouncer.requests.counting import count_batches
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch, Contact
from tests.bouncer.contacts import (
    ACCOUNT,
    at_once,
    batch_rows,
    claim,
    load_verdicts,
    queue,
    queue_rows,
    sent,
    set_back,
    small_batches,
    take,
    upload,
    verdicts,
    verify,
)
from tests.bouncer.storage.existing_tables import on_servers


def _change(engine: Engine, **values: Any) -> None:
    write(engine, lambda c: c.execute(update(Batch).values(**values)))


def _admit(engine: Engine, work: BatchWork, most: int = 15) -> Admission:
    return write(engine, admission.admit_upload, work, most)


def test_one_owner(engine: Engine) -> None:
    """A batch that a living worker has is given to nobody else, and to that worker as often as it asks."""
    (batch,) = small_batches(engine, 1)
    take(engine, batch, "first")
    assert write(engine, ownership.take, batch, "second") is None
    assert take(engine, batch, "first").owner == "first"
    assert write(engine, ownership.take, batch + 1, "first") is None


def test_of_many_that_ask_at_once_one_becomes_the_owner(engine: Engine) -> None:
    """Eight workers that reach for a batch in the same moment get one owner between them."""
    (batch,) = small_batches(engine, 1)
    taken = at_once([partial(write, engine, ownership.take, batch, f"worker {number}") for number in range(8)])
    (work,) = [work for work in taken if work is not None]
    assert batch_rows(engine)[0].owner == work.owner


def test_a_silent_owner_is_replaced(engine: Engine) -> None:
    """A batch whose worker was killed is free once its heartbeat has stopped, and not before."""
    (batch,) = small_batches(engine, 1)
    work = take(engine, batch, "first")
    set_back(engine, Batch.heartbeat_ts, STALE_SECONDS - 5)
    assert write(engine, ownership.take, batch, "second") is None
    assert read(engine, ownerless, ACCOUNT) == []
    set_back(engine, Batch.heartbeat_ts, STALE_SECONDS + 5)
    assert [title.id for title in read(engine, ownerless, ACCOUNT)] == [batch]
    write(engine, ownership.beat, [work.owner], [batch])
    assert write(engine, ownership.take, batch, "second") is None
    set_back(engine, Batch.heartbeat_ts, STALE_SECONDS + 5)
    take(engine, batch, "second")
    write(engine, ownership.beat, ["first"], [batch])
    write(engine, ownership.release, work)
    assert batch_rows(engine)[0].owner == "second"


def test_a_released_batch_is_free_at_once(engine: Engine) -> None:
    """A worker that stops in order leaves no batch waiting for silence."""
    (batch,) = small_batches(engine, 1)
    write(engine, ownership.release, take(engine, batch, "first"))
    assert take(engine, batch, "second").owner == "second"


def test_a_worker_that_was_replaced_changes_nothing(engine: Engine) -> None:
    """Whatever a worker that was believed dead still writes is refused, but for Bouncer's id of a paid upload."""
    (batch,) = small_batches(engine, 1)
    old = take(engine, batch, "old")
    _admit(engine, old)
    set_back(engine, Batch.heartbeat_ts, 60)
    take(engine, batch, "new")
    before = batch_rows(engine)
    for step in (
        partial(admission.admit_upload, batch=old, max_batches=15),
        partial(ownership.record_lease, batch=old, lease="lease"),
        partial(transitions.record_refused_upload, batch=old),
        partial(transitions.record_lost_upload, batch=old, hold=False),
        partial(ownership.record_finish_requested, batch=old),
        partial(transitions.record_verified, batch=old, credits_charged=1),
    ):
        with pytest.raises(OwnershipLost):
            write(engine, step)
    write(engine, transitions.record_progress, old, 1)
    assert batch_rows(engine) == before
    write(engine, transitions.record_upload, old, "paid", 0)
    assert take(engine, batch, "new").state is BatchState.QUEUED_AT_BOUNCER


def test_a_batch_goes_on_where_it_was(engine: Engine) -> None:
    """Every step is written down before the next, so that a successor repeats none that costs money."""
    (batch,) = small_batches(engine, 1)
    work = take(engine, batch)
    assert (work.state, work.bouncer_id, work.in_flight_seconds) == (BatchState.READY, None, 0)
    _admit(engine, work)
    assert take(engine, batch).state is BatchState.UPLOADING
    write(engine, transitions.record_refused_upload, work)
    assert take(engine, batch).state is BatchState.READY
    _admit(engine, work)
    write(engine, transitions.record_upload, work, "bouncer-1", 3)
    assert (take(engine, batch).state, take(engine, batch).bouncer_id) == (BatchState.QUEUED_AT_BOUNCER, "bouncer-1")
    with pytest.raises(OwnershipLost):
        _admit(engine, work)
    write(engine, transitions.record_progress, work, 1)
    write(engine, ownership.record_finish_requested, work)
    assert (take(engine, batch).processed, take(engine, batch).finishing) == (1, True)
    write(engine, transitions.record_verified, work, 2)
    assert take(engine, batch).state is BatchState.VERIFIED
    (row,) = batch_rows(engine)
    assert (row.duplicates, row.credits, row.slot_lease) == (3, 2, None)


def test_a_kill_between_the_upload_and_the_first_poll(engine: Engine) -> None:
    """A batch whose worker died right after Bouncer's id was recorded is found, and polled by its successor."""
    (batch,) = small_batches(engine, 1)
    upload(engine, batch, "killed")
    assert read(engine, ownerless, ACCOUNT) == []
    set_back(engine, Batch.heartbeat_ts, STALE_SECONDS + 5)
    (left,) = read(engine, ownerless, ACCOUNT)
    assert (left.id, left.state) == (batch, BatchState.QUEUED_AT_BOUNCER)
    work = take(engine, batch, "successor")
    assert (work.state, work.bouncer_id) == (BatchState.QUEUED_AT_BOUNCER, f"bouncer-{batch}")


def test_only_progress_counts_as_progress(engine: Engine) -> None:
    """The deadline runs from Bouncer's last step forward; the same figure again, or a lower one, is none."""
    (batch,) = small_batches(engine, 1)
    work = upload(engine, batch)
    write(engine, transitions.record_progress, work, 1)
    set_back(engine, Batch.progress_ts, 600)
    for processed in (1, 0):
        write(engine, transitions.record_progress, work, processed)
    assert 600 <= take(engine, batch).idle_seconds < 630
    write(engine, transitions.record_progress, work, 2)
    assert take(engine, batch).idle_seconds < 30


def test_an_upload_is_recorded_once(engine: Engine) -> None:
    """Recording the same answer twice is no error; another id for the same batch is told, as it may have been paid."""
    (batch,) = small_batches(engine, 1)
    work = take(engine, batch)
    _admit(engine, work)
    write(engine, transitions.record_upload, work, "bouncer-1", 0)
    write(engine, transitions.record_upload, work, "bouncer-1", 0)
    with pytest.raises(OwnershipLost, match="may have been paid twice"):
        write(engine, transitions.record_upload, work, "bouncer-2", 0)
    assert batch_rows(engine)[0].batch_id == "bouncer-1"


def test_lost_uploads_are_counted(engine: Engine) -> None:
    """An upload whose answer was lost is counted; it is sent again, or held for a person and left alone."""
    resent, held = small_batches(engine, 2)
    for batch, hold in ((resent, False), (held, True)):
        work = take(engine, batch)
        _admit(engine, work)
        write(engine, transitions.record_lost_upload, work, hold=hold)
        write(engine, ownership.release, work)
    assert [title.id for title in read(engine, ownerless, ACCOUNT)] == [resent]
    assert take(engine, resent).state is BatchState.TO_RESEND
    assert take(engine, held).state is BatchState.HELD
    counts = read(engine, count_batches)
    assert (counts.held, counts.possible_double_payments) == (1, 4)


def test_who_works_on_what(engine: Engine) -> None:
    """What is left behind is told by urgency, and apart from what others work on."""
    normal = small_batches(engine, 2)
    urgent = small_batches(engine, 1, priority=75)
    assert [title.id for title in read(engine, ownerless, ACCOUNT)] == urgent + normal
    request = next(row.request_id for row in batch_rows(engine) if row.id in urgent)
    assert [title.id for title in read(engine, ownerless, ACCOUNT, request)] == urgent
    assert read(engine, ownerless, "deep") == []
    take(engine, normal[0])
    owned = {batch.title.id: batch.is_owned for batch in read(engine, unsettled, [ACCOUNT, "deep"])}
    assert owned == {urgent[0]: False, normal[0]: True, normal[1]: False}
    verify(engine, normal[1])
    assert str(read(engine, ownerless, ACCOUNT)[0]) == f"batch {urgent[0]}: 2 contacts of request {request}"
    assert read(engine, ownership.account_of, urgent[0]) == ACCOUNT
    assert read(engine, ownership.account_of, 999) is None


def test_slots_of_dead_workers_are_given_back(engine: Engine) -> None:
    """The leases of workers that were killed are found once; those of living ones are kept."""
    dead, living = small_batches(engine, 2)
    for batch in (dead, living):
        write(engine, ownership.record_lease, take(engine, batch), f"lease-{batch}")
    set_back(engine, Batch.heartbeat_ts, 60, Batch.id == dead)
    assert write(engine, ownership.forget_dead_leases, ACCOUNT) == [f"lease-{dead}"]
    assert write(engine, ownership.forget_dead_leases, ACCOUNT) == []
    assert take(engine, living).stale_lease == f"lease-{living}"


def test_addresses_that_were_changed_since_the_claim(engine: Engine) -> None:
    """An application may change addresses at any time: each is sent as it is now, once, and none that is invalid."""
    queue(engine, ["anna@example.com", "ben@example.com", "carl@example.com", "dora@example.com"])
    (batch,) = claim(engine).batches
    changes = {"ben@example.com": "ANNA@Example.com", "carl@example.com": "nobody", "dora@example.com": ""}
    for old, new in changes.items():
        change = update(Contact).where(Contact.email == old).values(email=new)
        write(engine, partial(Connection.execute, statement=change))
    assert [address.lower() for address in sent(engine, batch.id)] == ["anna@example.com"]


@pytest.mark.parametrize("status", ["queued", "processing"])
def test_batches_of_the_plans_own_program_are_not_paid_for_again(engine: Engine, status: str) -> None:
    """A batch with Bouncer's id is polled, never uploaded, and its deadline runs from when its row was made."""
    (batch,) = small_batches(engine, 1)
    _change(engine, batch_id="theirs", status=status)
    set_back(engine, Batch.created_ts, 600)
    work = take(engine, batch)
    assert (work.state, work.bouncer_id) == (BatchState.QUEUED_AT_BOUNCER, "theirs")
    assert 600 <= work.in_flight_seconds < 630
    assert 600 <= work.idle_seconds < 630
    with pytest.raises(OwnershipLost):
        _admit(engine, work)
    write(engine, transitions.record_progress, work, 1)
    assert take(engine, batch).idle_seconds < 30
    write(engine, transitions.record_verified, work, 2)
    assert take(engine, batch).state is BatchState.VERIFIED


def test_settled_batches_need_nothing(engine: Engine) -> None:
    """A rerun of a batch that is over does nothing."""
    (batch,) = small_batches(engine, 1)
    for status in ("completed", "failed"):
        _change(engine, status=status, owner=None)
        assert take(engine, batch).state in SETTLED
    assert read(engine, ownerless, ACCOUNT) == []
    assert {row.status for row in queue_rows(engine)} == {"assigned"}


@on_servers
def test_a_batch_that_is_being_loaded_does_not_silence_the_others(engine: Engine) -> None:
    """A long load holds its batch's row; the heartbeat of the worker's other batches must not wait for it."""
    loading, other = small_batches(engine, 2)
    for batch in (loading, other):
        take(engine, batch, "worker")
    set_back(engine, Batch.heartbeat_ts, STALE_SECONDS + 5)
    with engine.begin() as held:
        held.execute(select(Batch.id).where(Batch.id == loading).with_for_update())
        write(engine, ownership.beat, ["worker"], [loading, other])
    assert [title.id for title in read(engine, ownerless, ACCOUNT)] == [loading]


def test_a_kill_between_completion_and_the_return_of_the_slot_leaves_word_of_the_lease(engine: Engine) -> None:
    """Bouncer has completed the batch but its worker dies with the slot in hand: the successor can give it back."""
    (batch,) = small_batches(engine, 1)
    work = upload(engine, batch)
    write(engine, ownership.record_lease, work, "lease")
    write(engine, transitions.record_verified, work, 2)
    successor = take(engine, batch)
    assert (successor.state, successor.stale_lease) == (BatchState.VERIFIED, "lease")
    load_verdicts(engine, successor, verdicts(sent(engine, batch)))
    assert batch_rows(engine)[0].slot_lease is None


@pytest.mark.parametrize("hold", [False, True])
def test_a_lost_upload_is_counted_once_though_its_commit_was_unsure(engine: Engine, hold: bool) -> None:
    """A transaction that is run again, since nobody knew whether it took place, shows no second payment."""
    (batch,) = small_batches(engine, 1)
    work = take(engine, batch)
    _admit(engine, work)
    for _ in range(2):
        write(engine, transitions.record_lost_upload, work, hold=hold)
    assert batch_rows(engine)[0].ambiguous_uploads == 1
    if hold:
        assert write(engine, transitions.resend_held) == 1
    _admit(engine, work)
    write(engine, transitions.record_lost_upload, work, hold=hold)
    assert batch_rows(engine)[0].ambiguous_uploads == 2
