"""A cancelled request sends nothing any more, loses no contact of others, and is done whoever is killed."""

import pytest
from sqlalchemy import Engine, select, update

from bouncer.batches import admission, endings, ownership, transitions
from bouncer.batches.admission import Admission
from bouncer.errors import InputRefused, OwnershipLost
from bouncer.requests import cancelling
from bouncer.requests.counting import Progress, count_batches, count_contacts
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch
from tests.bouncer.contacts import (
    at_once,
    batch_rows,
    claim,
    load_verdicts,
    new_request,
    queue,
    queue_again,
    queue_rows,
    sent,
    take,
    upload,
    verdicts,
    verify,
)


def _mark(engine: Engine, request: int) -> bool:
    return write(engine, cancelling.mark, request, by="ann@desk", reason="the wrong list")


def _withdraw(engine: Engine, request: int) -> int:
    write(engine, cancelling.withdraw_unsent, request)
    withdrawn = 0
    while some := write(engine, cancelling.withdraw_waiting, request):
        withdrawn += some
    return withdrawn


def _emails(count: int, prefix: str = "a") -> list[str]:
    return [f"{prefix}{number}@example{number % 3}.com" for number in range(count)]


def test_waiting_contacts_leave_the_queue_with_the_reason(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waiting contact fails with who cancelled it and why, a chunk at a time; other requests wait on."""
    monkeypatch.setattr(cancelling, "_CHUNK_ROWS", 4)
    request, other = new_request(engine), new_request(engine)
    queue(engine, _emails(10), request_id=request)
    queue(engine, _emails(3, "b"), request_id=other)
    assert _mark(engine, request)
    assert not _mark(engine, request)
    assert write(engine, cancelling.withdraw_waiting, request) == 4
    assert _withdraw(engine, request) == 6
    assert _withdraw(engine, request) == 0
    assert {row.error_message for row in queue_rows(engine) if row.request_id == request} == {
        "cancelled by ann@desk: the wrong list"
    }
    # They are no errors: an ingest that runs beside counts none.
    assert read(engine, count_contacts) == Progress(queued=3, cancelled=10)
    assert read(engine, count_contacts, request) == Progress(cancelled=10)
    assert write(engine, cancelling.withdraw_waiting, other) == 0


def test_a_request_that_is_not_there_cannot_be_cancelled(engine: Engine) -> None:
    """A mistyped id is told, and changes nothing."""
    with pytest.raises(InputRefused, match="there is no request 4711"):
        _mark(engine, 4711)
    with pytest.raises(InputRefused, match="there is no request 4711"):
        read(engine, cancelling.prospect, 4711)


def test_what_it_would_do_can_be_seen_before(engine: Engine) -> None:
    """The prospect counts what waits, what is not sent and what is at Bouncer, and changes nothing."""
    request = new_request(engine)
    queue(engine, _emails(10), request_id=request)
    first, second = (batch.id for batch in claim(engine, batches=2, batch_size=3).batches)
    work = upload(engine, first)
    write(engine, transitions.record_progress, work, 1)
    before = queue_rows(engine)
    ahead = read(engine, cancelling.prospect, request)
    assert (ahead.waiting, ahead.unsent, ahead.batches, ahead.unverified) == (4, 3, 1, 2)
    assert queue_rows(engine) == before
    assert {row.id for row in batch_rows(engine)} == {first, second}


def test_after_the_mark_nothing_is_claimed_or_sent(engine: Engine) -> None:
    """A batch that waits for its turn is refused at the last moment, and a claim takes the contacts out instead."""
    request = new_request(engine)
    queue(engine, _emails(6), request_id=request)
    (batch,) = claim(engine, batches=1, batch_size=3).batches
    work = take(engine, batch.id)
    _mark(engine, request)
    assert write(engine, admission.admit_upload, work, 15) is Admission.CANCELLED
    claimed = claim(engine)
    assert (claimed.batches, claimed.cancelled, claimed.took_any) == ((), 3, True)
    assert write(engine, endings.dissolve, work) == 3
    assert claim(engine).cancelled == 3
    assert read(engine, count_contacts) == Progress(cancelled=6)


def test_a_batch_that_was_not_sent_goes_though_a_run_works_on_it(engine: Engine) -> None:
    """The run of an unsent batch finds it gone, and contacts of another request that joined it are requeued."""
    request, other = new_request(engine), new_request(engine)
    contacts = queue(engine, _emails(3), request_id=request)
    (batch,) = claim(engine).batches
    queue_again(engine, contacts[:2], request_id=other)
    assert claim(engine).joined == 2
    work = take(engine, batch.id)
    _mark(engine, request)
    assert _withdraw(engine, request) == 3
    assert batch_rows(engine) == []
    with pytest.raises(OwnershipLost):
        write(engine, ownership.record_lease, work, "lease")
    assert read(engine, count_contacts, request) == Progress(cancelled=3)
    (again,) = claim(engine).batches
    assert sorted(sent(engine, again.id)) == sorted(_emails(3)[:2])
    load_verdicts(engine, verify(engine, again.id), verdicts(sent(engine, again.id)))
    assert read(engine, count_contacts, other) == Progress(completed=2)


def test_what_bouncer_has_is_loaded_and_its_rest_costs_others_nothing(engine: Engine) -> None:
    """Verdicts that came back are kept; who got none is withdrawn, or, for another request, queued as before."""
    request, other = new_request(engine), new_request(engine)
    contacts = queue(engine, _emails(4), request_id=request)
    (batch,) = claim(engine).batches
    queue_again(engine, contacts, request_id=other)
    claim(engine)
    upload(engine, batch.id)
    _mark(engine, request)
    assert _withdraw(engine, request) == 0
    # Queued at Bouncer, it cannot be finished yet.
    assert read(engine, cancelling.to_finish, request) == []
    write(engine, transitions.record_running, take(engine, batch.id))
    (found,) = read(engine, cancelling.to_finish, request)
    assert (found.id, found.account, found.bouncer_id) == (batch.id, "default", f"bouncer-{batch.id}")
    write(engine, cancelling.note_finish_requested, batch.id)
    assert read(engine, cancelling.to_finish, request) == []
    assert read(engine, cancelling.under_way, request) == 1
    work = take(engine, batch.id)
    assert work.finishing
    write(engine, transitions.record_verified, work, 1)
    load_verdicts(engine, take(engine, batch.id), verdicts(sent(engine, batch.id)[:1]))
    assert _withdraw(engine, request) == 3
    assert read(engine, count_contacts, request) == Progress(completed=1, cancelled=3)
    assert read(engine, count_contacts, other) == Progress(completed=1, queued=3)
    assert {row.attempts for row in queue_rows(engine) if row.status == "queued"} == {0}
    assert read(engine, cancelling.under_way, request) == 0


def test_contacts_in_another_requests_batch_get_its_verdict(engine: Engine) -> None:
    """A contact of the cancelled request that waits for another's batch costs nothing, so it stays and is settled."""
    other, request = new_request(engine), new_request(engine)
    contacts = queue(engine, _emails(2), request_id=other)
    (batch,) = claim(engine).batches
    queue_again(engine, contacts, request_id=request)
    claim(engine)
    _mark(engine, request)
    assert _withdraw(engine, request) == 0
    load_verdicts(engine, verify(engine, batch.id), verdicts(sent(engine, batch.id)))
    assert read(engine, count_contacts, request) == Progress(completed=2)


def test_a_lost_upload_of_a_cancelled_request_is_not_repeated(engine: Engine) -> None:
    """A held batch is closed and its possible double payment stays on record."""
    request = new_request(engine)
    queue(engine, _emails(3), request_id=request)
    (batch,) = claim(engine).batches
    work = take(engine, batch.id)
    write(engine, admission.admit_upload, work, 15)
    write(engine, transitions.record_lost_upload, work, hold=True)
    write(engine, ownership.release, work)
    _mark(engine, request)
    assert _withdraw(engine, request) == 3
    (row,) = batch_rows(engine)
    assert (row.status, row.held_ts, row.ambiguous_uploads) == ("failed", None, 1)
    assert read(engine, count_batches).possible_double_payments == 3


def test_an_upload_that_is_lost_after_a_cancellation_is_not_held_for_ever(engine: Engine) -> None:
    """Found by simulation: the cancellation had come and gone, and requeue --held leaves cancelled requests alone."""
    request = new_request(engine)
    queue(engine, _emails(3), request_id=request)
    (batch,) = claim(engine).batches
    work = take(engine, batch.id)
    write(engine, admission.admit_upload, work, 15)
    _mark(engine, request)
    assert _withdraw(engine, request) == 0
    assert not write(engine, transitions.record_lost_upload, work, hold=True)
    assert write(engine, admission.admit_upload, work, 15) is Admission.CANCELLED
    write(engine, endings.dissolve, work)
    assert _withdraw(engine, request) == 3
    assert read(engine, count_batches).possible_double_payments == 3


def test_a_held_batch_goes_with_its_request_though_its_run_is_just_ending(engine: Engine) -> None:
    """The run has given up the upload and not yet the batch: nobody would look at it again."""
    request = new_request(engine)
    queue(engine, _emails(3), request_id=request)
    (batch,) = claim(engine).batches
    work = take(engine, batch.id)
    write(engine, admission.admit_upload, work, 15)
    assert write(engine, transitions.record_lost_upload, work, hold=True)
    _mark(engine, request)
    assert _withdraw(engine, request) == 3


def test_an_upload_that_has_begun_is_left_to_its_run(engine: Engine) -> None:
    """A batch whose upload is on its way is not taken from its run, which will have Bouncer's id."""
    request = new_request(engine)
    queue(engine, _emails(3), request_id=request)
    (batch,) = claim(engine).batches
    work = take(engine, batch.id)
    write(engine, admission.admit_upload, work, 15)
    _mark(engine, request)
    assert _withdraw(engine, request) == 0
    write(engine, transitions.record_upload, work, "late", 0)
    write(engine, transitions.record_running, work)
    assert [found.bouncer_id for found in read(engine, cancelling.to_finish, request)] == ["late"]


def test_claims_uploads_and_a_cancellation_at_once(engine: Engine) -> None:
    """However they interleave, what was not admitted before the mark is never sent, and no contact is lost."""
    request = new_request(engine)
    queue(engine, _emails(60), request_id=request)

    def work_off() -> int:
        uploaded = 0
        for _ in range(6):
            for batch in claim(engine, batches=1, batch_size=5).batches:
                work = write(engine, ownership.take, batch.id, f"worker-{batch.id}")
                try:
                    if work is None or write(engine, admission.admit_upload, work, 15) is not Admission.ADMITTED:
                        continue
                    uploaded += batch.quantity
                    write(engine, transitions.record_upload, work, f"bouncer-{batch.id}", 0)
                except OwnershipLost:
                    continue
        return uploaded

    def cancel() -> int:
        _mark(engine, request)
        return _withdraw(engine, request)

    first, second, _ = at_once([work_off, work_off, cancel])
    _withdraw(engine, request)
    after = read(engine, count_contacts)
    assert after == Progress(assigned=first + second, cancelled=60 - first - second)
    begun = read(engine, lambda c: c.scalars(select(Batch.quantity).where(Batch.upload_begun_ts.is_not(None))).all())
    assert sum(begun) == first + second


def test_an_application_that_queues_more_is_told_so(engine: Engine) -> None:
    """Contacts that are queued for a cancelled request leave with the reason; without the mark they are claimed."""
    request = new_request(engine)
    queue(engine, _emails(2), request_id=request)
    _mark(engine, request)
    _withdraw(engine, request)
    queue(engine, _emails(2, "b"), request_id=request)
    assert claim(engine).cancelled == 2
    assert write(engine, cancelling.unmark, request)
    assert not write(engine, cancelling.unmark, request)
    queue(engine, _emails(2, "c"), request_id=request)
    assert claim(engine).batches[0].quantity == 2


def test_what_was_begun_in_real_time_keeps_its_verdicts(engine: Engine) -> None:
    """A batch of which some addresses were asked for one by one is left to its run; without one, its row stays."""
    request = new_request(engine)
    queue(engine, _emails(3), request_id=request)
    (batch,) = claim(engine).batches
    work = take(engine, batch.id)
    write(engine, lambda c: c.execute(update(Batch).values(realtime=True, processed=1)))
    _mark(engine, request)
    assert write(engine, cancelling.withdraw_unsent, request) == 0
    write(engine, ownership.release, work)
    assert _withdraw(engine, request) == 3
    assert [(row.id, row.status) for row in batch_rows(engine)] == [(batch.id, "failed")]
