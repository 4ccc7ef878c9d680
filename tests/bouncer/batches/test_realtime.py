"""Real time in the database: verdicts are stored as they come, and what a kill leaves in doubt is counted."""

import pytest
from sqlalchemy import Engine, delete, select, update

from bouncer.accounts import state as account_state
from bouncer.batches import admission, ownership, realtime, transitions
from bouncer.batches.admission import Admission
from bouncer.batches.state import BatchState, BatchWork
from bouncer.batches.unsettled import unsettled
from bouncer.queue import claiming, fair_order
from bouncer.queue.claiming import Claimed
from bouncer.requests import cancelling
from bouncer.requests.counting import count_batches
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch, Contact, Result
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.second_chances import Chances
from tests.bouncer.contacts import ACCOUNT, batch_rows, new_request, queue, queue_rows, take, verdicts

_NO_CHANCES = Chances(most=0)


def _emails(count: int) -> list[str]:
    return [f"person{number}@example.com" for number in range(count)]


def _claim(engine: Engine, at_once: int) -> Claimed:
    return write(engine, claiming.claim, ACCOUNT, batches=1, batch_size=100, fresh_for=FreshFor(), at_once=at_once)


def _batch(engine: Engine, contacts: int = 5) -> BatchWork:
    queue(engine, _emails(contacts))
    (batch,) = _claim(engine, contacts).batches
    return take(engine, batch.id)


def _store(engine: Engine, batch: BatchWork, answered: list[str], *, lost: int = 0, hold: bool = False) -> int:
    return write(
        engine,
        realtime.store,
        batch,
        verdicts(answered),
        {},
        lost=lost,
        hold=hold,
        chances=_NO_CHANCES,
        fresh_for=FreshFor(),
    )


def _statuses(engine: Engine) -> list[str]:
    return [row.status for row in queue_rows(engine)]


def test_only_small_requests_are_claimed_for_real_time(engine: Engine) -> None:
    """A larger request is left for batches however urgent it is; the batch of the small one says what it is."""
    queue(engine, _emails(6), priority=100)
    queue(engine, ["a@firm.example", "b@firm.example"], priority=25)
    claimed = _claim(engine, 5)
    assert [(batch.quantity, batch.realtime) for batch in claimed.batches] == [(2, True)]
    assert _claim(engine, 5) == Claimed()
    assert _statuses(engine)[:6] == ["queued"] * 6


def test_a_small_request_is_found_behind_many_large_ones(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many larger requests of its priority came before, it does not wait for a batch."""
    monkeypatch.setattr(fair_order, "_MOST_REQUESTS", 2)
    for number in range(5):
        queue(engine, [f"{number}.{email}" for email in _emails(6)])
    queue(engine, ["a@firm.example"])
    assert [(batch.quantity, batch.realtime) for batch in _claim(engine, 5).batches] == [(1, True)]


def test_verdicts_are_stored_as_they_come(engine: Engine) -> None:
    """What was answered has its verdict while the rest still waits, and the batch ends with the last of them."""
    batch = _batch(engine)
    assert write(engine, realtime.begin, batch, 3) is Admission.ADMITTED
    assert batch_rows(engine)[0].unanswered == 3
    assert _store(engine, batch, _emails(3)) == 3
    assert _statuses(engine) == ["completed"] * 3 + ["assigned"] * 2
    assert not write(engine, realtime.complete, batch)
    assert read(engine, realtime.next_addresses, batch, 5) == _emails(5)[3:]
    write(engine, realtime.begin, batch, 2)
    _store(engine, batch, _emails(5)[3:])
    assert write(engine, realtime.complete, batch)
    (row,) = batch_rows(engine)
    assert (row.status, row.processed, row.expected_credits, row.unanswered) == ("completed", 5, 5, 0)


def test_the_ledger_has_what_was_answered_on_a_contact_that_was_deleted_meanwhile(engine: Engine) -> None:
    """Found by simulation: Bouncer charges for an address that was asked for, whoever has deleted its contact since."""
    batch = _batch(engine, 2)
    write(engine, realtime.begin, batch, 2)
    first, second = _emails(2)
    write(engine, lambda c: c.execute(delete(Contact).where(Contact.email == first)))
    assert _store(engine, batch, [first, second]) == 1
    (row,) = batch_rows(engine)
    assert (row.processed, row.expected_credits) == (2, 2)


@pytest.mark.parametrize("hold", [False, True])
def test_what_was_stored_although_the_commit_seemed_lost_is_not_counted_again(engine: Engine, hold: bool) -> None:
    """Found by simulation: the ledger had each address twice where a connection died after the commit took effect."""
    batch = _batch(engine, 3)
    write(engine, realtime.begin, batch, 3)
    for _ in ("took effect", "again"):
        _store(engine, batch, _emails(2), lost=1, hold=hold)
    (row,) = batch_rows(engine)
    assert (row.processed, row.expected_credits, row.ambiguous_addresses, row.held_ts is not None) == (2, 2, 1, hold)


def test_an_address_whose_answer_was_lost_is_asked_for_last(engine: Engine) -> None:
    """It may be paid for again, so every other address comes first."""
    batch = _batch(engine)
    first, *others = _emails(5)
    assert read(engine, realtime.next_addresses, batch, 2, {first: 1}) == others[:2]
    assert read(engine, realtime.next_addresses, batch, 5, {first: 1}) == [*others, first]


def test_it_counts_as_no_batch_in_flight(engine: Engine) -> None:
    """A batch in real time takes no place from those that are uploaded."""
    batch = _batch(engine)
    write(engine, realtime.begin, batch, 5)
    queue(engine, ["other@firm.example"])
    claimed = write(engine, claiming.claim, ACCOUNT, batches=1, batch_size=10, fresh_for=FreshFor())
    other = take(engine, claimed.batches[0].id, "other")
    assert write(engine, admission.admit_upload, other, 1) is Admission.ADMITTED


def test_what_a_dead_run_waited_for_is_counted_once(engine: Engine) -> None:
    """The addresses under way at a kill are perhaps paid; counted by the next owner, and not again by a third."""
    batch = _batch(engine)
    write(engine, realtime.begin, batch, 4)
    for _ in range(2):
        write(engine, transitions.record_lost_answers, batch, hold=False)
    assert read(engine, count_batches).possible_double_payments == 4
    (row,) = batch_rows(engine)
    assert (row.unanswered, row.held_ts) == (0, None)
    write(engine, realtime.begin, batch, 2)
    _store(engine, batch, _emails(1), lost=1, hold=True)
    (row,) = batch_rows(engine)
    assert (row.ambiguous_addresses, row.held_ts is None) == (5, False)


def test_one_that_was_begun_is_never_undone(engine: Engine) -> None:
    """Its row holds verdicts that were paid for: it is not handed over, and stays when its credits run out."""
    batch = _batch(engine)
    write(engine, ownership.release, batch)
    assert [one.is_unsent for one in read(engine, unsettled, [ACCOUNT])] == [True]
    batch = take(engine, batch.id)
    write(engine, realtime.begin, batch, 2)
    _store(engine, batch, _emails(2))
    write(engine, ownership.release, batch)
    (one,) = read(engine, unsettled, [ACCOUNT])
    assert (one.is_unsent, one.is_left_behind) == (False, True)
    assert (one.title.state, one.title.realtime) == (BatchState.ASKING, True)


def test_a_cancelled_request_keeps_the_verdicts_that_it_paid_for(engine: Engine) -> None:
    """The run that asks sees the cancellation before its next addresses; a batch without a run is closed at once."""
    request = new_request(engine)
    queue(engine, _emails(5), request_id=request)
    batch = take(engine, _claim(engine, 5).batches[0].id)
    write(engine, realtime.begin, batch, 2)
    write(engine, cancelling.mark, request, by="ann", reason="wrong list")
    assert write(engine, cancelling.withdraw_unsent, request) == 0
    _store(engine, batch, _emails(2))
    assert write(engine, realtime.begin, batch, 2) is Admission.CANCELLED
    write(engine, ownership.release, batch)
    assert write(engine, cancelling.withdraw_unsent, request) == 1
    assert _statuses(engine) == ["completed"] * 2 + ["queued"] * 3
    assert len(read(engine, lambda connection: connection.execute(select(Result.global_id)).all())) == 2


def test_addresses_that_a_kill_left_in_doubt_are_counted_when_their_request_is_cancelled(engine: Engine) -> None:
    """Nobody asks for them again, and each may have been paid for; that stays on record."""
    request = new_request(engine)
    queue(engine, _emails(5), request_id=request)
    batch = take(engine, _claim(engine, 5).batches[0].id)
    write(engine, realtime.begin, batch, 3)
    write(engine, ownership.release, batch)
    write(engine, cancelling.mark, request, by="ann", reason="wrong list")
    assert write(engine, cancelling.withdraw_unsent, request) == 1
    (row,) = batch_rows(engine)
    assert (row.status, row.unanswered, row.ambiguous_addresses) == ("failed", 0, 3)


def test_while_the_account_is_paused_nothing_is_sent(engine: Engine) -> None:
    """A pause holds for single addresses too."""
    batch = _batch(engine)
    write(engine, account_state.pause, ACCOUNT, by="ann", reason="lunch")
    assert write(engine, realtime.begin, batch, 1) is Admission.PAUSED
    assert batch_rows(engine)[0].unanswered == 0


def test_an_address_that_joins_meanwhile_gets_its_verdict_too(engine: Engine) -> None:
    """A contact of another request with the same address joins the batch, which does not end without it."""
    batch = _batch(engine, 1)
    queue(engine, ["PERSON0@example.com"])
    assert _claim(engine, 5).joined == 1
    write(engine, realtime.begin, batch, 1)
    assert _store(engine, batch, ["person0@example.com"]) == 2
    assert write(engine, realtime.complete, batch)
    with engine.begin() as connection:
        connection.execute(update(Batch).values(owner=None))
    assert _statuses(engine) == ["completed", "completed"]
