"""What is asked of a batch's state has one answer, whoever asks: cancellation, ledger, status, health, the next run."""

from io import StringIO

from sqlalchemy import Engine, text

from bouncer.batches import admission, ownership, realtime, transitions
from bouncer.batches.admission import Admission
from bouncer.batches.state import AT_BOUNCER
from bouncer.batches.unsettled import unsettled
from bouncer.costs.ledger import take_ledger, write_batches
from bouncer.monitoring.measurement import measure_queue
from bouncer.monitoring.status import count_everything, take_stock
from bouncer.queue import claiming
from bouncer.requests import cancelling
from bouncer.requests.counting import count_contacts
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch, Layer
from bouncer.upkeep import retention
from bouncer.verdicts.freshness import FreshFor
from tests.bouncer.contacts import (
    ACCOUNT,
    batch_rows,
    claim,
    new_request,
    queue,
    queue_again,
    queue_rows,
    set_back,
    take,
    verify,
)


def _emails(count: int, prefix: str = "a") -> list[str]:
    return [f"{prefix}{number}@example{number % 3}.com" for number in range(count)]


def _withdraw(engine: Engine, request: int) -> None:
    write(engine, cancelling.mark, request, by="ann", reason="the wrong list")
    write(engine, cancelling.withdraw_unsent, request)
    while write(engine, cancelling.withdraw_waiting, request):
        pass


def test_a_dry_run_promises_only_contacts_that_really_leave(engine: Engine) -> None:
    """Contacts whose upload has begun stay, as do those that another request has in the batch; both were promised."""
    request, other = new_request(engine), new_request(engine)
    queue(engine, _emails(10), request_id=request)
    sending, ready = (batch.id for batch in claim(engine, batches=2, batch_size=4, request_id=request).batches)
    sent = [row.global_id for row in queue_rows(engine) if row.batch_id is not None]
    queue_again(engine, sent, request_id=other)
    assert claim(engine, request_id=other).joined == 8
    assert write(engine, admission.admit_upload, take(engine, sending), 15) is Admission.ADMITTED
    ahead = read(engine, cancelling.prospect, request)
    _withdraw(engine, request)
    assert ahead.waiting + ahead.unsent == read(engine, count_contacts, request).cancelled == 6
    assert [row.id for row in batch_rows(engine)] == [sending]
    assert ready != sending


def test_a_dry_run_counts_contacts_and_not_addresses(engine: Engine) -> None:
    """Two contacts of a request with one address are one address of a batch, and both leave the queue."""
    request = new_request(engine)
    queue(engine, ["same@example.com", "SAME@example.com", "other@example.com"], request_id=request)
    claim(engine)
    ahead = read(engine, cancelling.prospect, request)
    _withdraw(engine, request)
    assert ahead.unsent == read(engine, count_contacts, request).cancelled == 3


def test_a_dry_run_counts_what_is_held_and_what_was_asked_in_real_time(engine: Engine) -> None:
    """A dead run's real-time batch gives back what it did not ask; while a run asks, it keeps its contacts."""
    request = new_request(engine)
    queue(engine, _emails(3), request_id=request)
    claimed = write(
        engine, claiming.claim, ACCOUNT, batches=1, batch_size=9, fresh_for=FreshFor(), request_id=request, at_once=3
    )
    batch = take(engine, claimed.batches[0].id)
    assert write(engine, realtime.begin, batch, 2) is Admission.ADMITTED
    assert read(engine, cancelling.prospect, request).unsent == 0
    write(engine, ownership.release, batch)
    assert read(engine, cancelling.prospect, request).unsent == 3
    _withdraw(engine, request)
    assert read(engine, count_contacts, request).cancelled == 3


def test_a_batch_that_was_asked_to_finish_is_not_promised_to_be_finished(engine: Engine) -> None:
    """Bouncer is asked once; the dry run of a cancellation that was cut short counts what is still to be asked."""
    request = new_request(engine)
    queue(engine, _emails(4), request_id=request)
    (batch,) = claim(engine).batches
    taken = take(engine, batch.id)
    write(engine, admission.admit_upload, taken, 15)
    write(engine, transitions.record_upload, taken, "bouncer-1", 0)
    assert read(engine, cancelling.prospect, request).batches == 1
    write(engine, cancelling.note_finish_requested, batch.id)
    assert read(engine, cancelling.prospect, request).batches == len(read(engine, cancelling.to_finish, request)) == 0


def test_the_ledger_shows_what_a_batch_without_contacts_cost(engine: Engine) -> None:
    """Bouncer charged 10 for contacts that the application deleted meanwhile: 10 were paid for nothing."""
    queue(engine, _emails(10))
    (batch,) = claim(engine).batches
    write(engine, ownership.release, verify(engine, batch.id))
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM Bouncer_Queue"))
    set_back(engine, Batch.updated_ts, 7_200)
    assert read(engine, retention.find_empty_batches, ACCOUNT) == [(batch.id, f"bouncer-{batch.id}")]
    assert write(engine, transitions.close_empty, batch.id)
    total = read(engine, take_ledger).total
    assert (total.charged, total.expected, total.difference) == (10, 0, 10)
    file = StringIO()
    write_batches(engine, file)
    assert file.getvalue().splitlines()[1].split(",")[-4:] == ["0", "10", "10", "0"]
    (row,) = batch_rows(engine)
    assert (row.owner, row.heartbeat_ts, row.slot_lease) == (None, None, None)


def test_a_batch_in_real_time_is_in_one_place(engine: Engine) -> None:
    """Once it was asked for, it waits no more and is not unsent, in the status, in the health check and for runs."""
    queue(engine, _emails(5))
    (batch,) = write(engine, claiming.claim, ACCOUNT, batches=1, batch_size=9, fresh_for=FreshFor(), at_once=5).batches
    assert _places(engine) == ("ready", 5, 0, False)
    write(engine, realtime.begin, take(engine, batch.id), 5)
    assert _places(engine) == ("in real time", 0, 0, True)


def _places(engine: Engine) -> tuple[str, int, int, bool]:
    counts = read(engine, count_everything)
    stock = read(engine, take_stock, counts, most_batches=15, most_requests_a_minute=200)
    (shown,) = stock.in_flight
    health = read(engine, measure_queue, ACCOUNT, Layer.BASIC, window_minutes=5, deadline_seconds=3600)
    (found,) = read(engine, unsettled, [ACCOUNT])
    return shown.state, health.unsent_contacts, health.batches_in_flight, found.title.state in AT_BOUNCER
