"""Caps on credits: asked where batches are made, so that no run and no request can pass its own."""

import pytest
from sqlalchemy import Engine, update

from bouncer.batches import admission, endings, realtime, transitions
from bouncer.batches.state import BatchWork
from bouncer.costs.ledger import take_ledger
from bouncer.credits.caps import Spending, repeat_would_pass, room_of_run, set_cap, take_caps
from bouncer.queue import claiming, fair_order
from bouncer.queue.claiming import Claimed
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.second_chances import Chances
from tests.bouncer.contacts import (
    ACCOUNT,
    at_once,
    load_verdicts,
    new_request,
    queue,
    queue_rows,
    sent,
    take,
    upload,
    verdicts,
)


def _emails(count: int, prefix: str = "person") -> list[str]:
    return [f"{prefix}{number}@example.com" for number in range(count)]


def _claim(engine: Engine, spending: Spending | None = None, *, batch_size: int = 10) -> Claimed:
    return write(
        engine,
        claiming.claim,
        ACCOUNT,
        batches=15,
        batch_size=batch_size,
        fresh_for=FreshFor(),
        spending=spending or Spending(),
    )


def _quantity(claimed: Claimed) -> int:
    return sum(batch.quantity for batch in claimed.batches)


def _waiting(engine: Engine) -> int:
    return sum(row.status == "queued" for row in queue_rows(engine))


def _settle(engine: Engine, batch_id: int, charged: int) -> None:
    work = upload(engine, batch_id)
    write(engine, transitions.record_verified, work, charged)
    load_verdicts(engine, take(engine, batch_id), verdicts(sent(engine, batch_id)))


def _capped_request(engine: Engine, most: int) -> int:
    request = new_request(engine)
    write(engine, set_cap, request, most)
    return request


def test_a_run_commits_no_more_than_its_cap(engine: Engine) -> None:
    """The contacts beyond the cap stay in the queue as they were, and the claim says why."""
    queue(engine, [*_emails(50), *[email.upper() for email in _emails(5)]])
    first = _claim(engine, Spending(23))
    assert (_quantity(first), first.capped) == (23, ())
    assert first.contacts == 55 - _waiting(engine)
    again = _claim(engine, Spending(23, frozenset(batch.id for batch in first.batches)))
    assert again == Claimed(capped=("this run has reached its cap of 23 credits; run ingest again to go on",))
    assert _quantity(_claim(engine)) == 27


def test_a_request_commits_no_more_than_its_cap_and_holds_nobody_up(engine: Engine) -> None:
    """Requests without a cap, and less urgent ones, are served while one has reached its own."""
    capped = _capped_request(engine, 7)
    queue(engine, _emails(20, "capped"), request_id=capped, priority=100)
    queue(engine, _emails(5, "free"), priority=25)
    assert _quantity(_claim(engine)) == 7
    other = _claim(engine)
    assert (_quantity(other), other.batches[0].request_id == capped) == (5, False)
    last = _claim(engine)
    assert (last.took_any, last.capped) == (
        False,
        (f"request {capped} has reached its cap of credits; import with --max-credits sets another",),
    )
    assert _waiting(engine) == 13
    write(engine, set_cap, capped, None)
    assert _quantity(_claim(engine)) == 13


def test_many_requests_at_their_caps_starve_nobody(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request behind more capped ones than are compared at once still gets its turn."""
    monkeypatch.setattr(fair_order, "_MOST_REQUESTS", 2)
    for number in range(5):
        queue(engine, _emails(2, f"capped{number}."), request_id=_capped_request(engine, 0))
    queue(engine, _emails(3, "free"))
    assert _quantity(_claim(engine)) == 3


def test_what_bouncer_did_not_charge_can_be_committed_again(engine: Engine) -> None:
    """Unknown verdicts are free: once a batch is charged, only its credits count."""
    request = _capped_request(engine, 10)
    queue(engine, _emails(20), request_id=request)
    (batch,) = _claim(engine).batches
    assert not _claim(engine).batches
    _settle(engine, batch.id, charged=6)
    assert _quantity(_claim(engine)) == 4
    (cap,) = read(engine, take_caps)
    assert (cap.request_id, cap.max_credits, cap.committed, cap.is_reached) == (request, 10, 10, True)


def test_known_and_invalid_contacts_are_settled_within_a_cap(engine: Engine) -> None:
    """What costs nothing does not count: with room for one address, known ones are settled beside it."""
    queue(engine, _emails(4))
    (batch,) = _claim(engine).batches
    _settle(engine, batch.id, charged=4)
    queue(engine, [*_emails(4), "new@example.com", "newer@example.com", "none"], request_id=_capped_request(engine, 1))
    claimed = _claim(engine)
    assert (claimed.reused, claimed.invalid, _quantity(claimed), _waiting(engine)) == (4, 1, 1, 1)


def test_claims_at_the_same_moment_do_not_pass_a_cap_together(engine: Engine) -> None:
    """The cap is asked under the lock of claims, so two runs cannot both take the last credits."""
    queue(engine, _emails(200), request_id=_capped_request(engine, 15))
    claimed = at_once([lambda: _claim(engine, batch_size=1) for _ in range(4)])
    assert sum(map(_quantity, claimed)) == 15


def test_the_halves_of_a_refused_batch_count_in_its_place(engine: Engine) -> None:
    """A batch that was refused cost nothing; its halves are the run's, though the run did not claim them."""
    queue(engine, _emails(10))
    (batch,) = _claim(engine).batches
    spending = Spending(30, frozenset({batch.id}))
    assert read(engine, room_of_run, spending) == 20
    with engine.begin() as connection:
        connection.execute(update(Batch).values(status="failed"))
        half = {"user_id": 1, "request_id": batch.request_id, "quantity": 5, "split_from": batch.id}
        connection.execute(Batch.__table__.insert(), [half])
    assert read(engine, room_of_run, spending) == 25


def _in_real_time(engine: Engine, addresses: int, cap: int) -> tuple[int, BatchWork]:
    request = _capped_request(engine, cap)
    queue(engine, _emails(addresses), request_id=request)
    claimed = write(engine, claiming.claim, ACCOUNT, batches=1, batch_size=10, fresh_for=FreshFor(), at_once=addresses)
    return request, take(engine, claimed.batches[0].id)


def _answered(engine: Engine, batch: BatchWork, answers: int, *, asked: int, lost: int = 0, hold: bool = False) -> None:
    write(engine, realtime.begin, batch, asked)
    answered = verdicts(_emails(answers))
    good = {"chances": Chances(most=0), "fresh_for": FreshFor()}
    write(engine, realtime.store, batch, answered, {}, lost=lost, hold=hold, **good)


def _committed(engine: Engine) -> int:
    (cap,) = read(engine, take_caps)
    return cap.committed


def test_a_request_in_real_time_that_cannot_be_paid_uses_up_nothing(engine: Engine) -> None:
    """Nothing was charged, so the whole cap is there when credits are back, and the ledger knows of no address."""
    _, batch = _in_real_time(engine, 5, cap=5)
    _answered(engine, batch, 0, asked=5)
    write(engine, endings.dissolve, batch)
    assert (_committed(engine), read(engine, take_ledger).total.addresses) == (0, 0)
    assert _quantity(_claim(engine)) == 5


def test_what_real_time_has_cost_counts_when_the_credits_run_out(engine: Engine) -> None:
    """Verdicts that were paid for and answers that were lost use up the cap; addresses that went back do not."""
    _, batch = _in_real_time(engine, 5, cap=5)
    _answered(engine, batch, 2, asked=5, lost=1)
    assert _committed(engine) == 6
    write(engine, endings.dissolve, batch)
    assert _committed(engine) == 3
    assert _quantity(_claim(engine)) == 2


def test_a_held_answer_in_real_time_does_not_hide_what_was_paid(engine: Engine) -> None:
    """While the batch waits for a person, its verdicts and its other addresses count on."""
    _, batch = _in_real_time(engine, 5, cap=9)
    _answered(engine, batch, 4, asked=5, lost=1, hold=True)
    assert _committed(engine) == 6


def test_a_lost_answer_in_real_time_is_one_address_to_the_cap(engine: Engine) -> None:
    """What is asked for again is the address, not its whole batch: a person is to decide where that could pass."""
    _, batch = _in_real_time(engine, 5, cap=6)
    assert read(engine, repeat_would_pass, batch.request_id, 1) is False
    _answered(engine, batch, 4, asked=5, lost=1)
    assert read(engine, repeat_would_pass, batch.request_id, 1) is True


@pytest.mark.parametrize(("cap", "passes"), [(None, False), (20, False), (19, True)])
def test_an_upload_is_not_repeated_beyond_a_cap(engine: Engine, cap: int | None, passes: bool) -> None:
    """A lost upload may have been paid; where the repeat could pass the request's cap, a person is to decide."""
    request = new_request(engine)
    queue(engine, _emails(10), request_id=request)
    (batch,) = _claim(engine).batches
    write(engine, set_cap, request, cap)
    work = take(engine, batch.id)
    assert read(engine, repeat_would_pass, work.request_id, 10) is passes
    write(engine, admission.admit_upload, work, 15)
    write(engine, transitions.record_lost_upload, work, hold=True)
    if cap is not None:
        (told,) = read(engine, take_caps)
        assert told.committed == 10


def test_a_charge_without_a_verdict_counts_against_the_cap(engine: Engine) -> None:
    """Where Bouncer tells no credits, an address that it verified and gave no verdict on may have been paid for."""
    request = _capped_request(engine, 4)
    queue(engine, _emails(3), request_id=request)
    (batch,) = _claim(engine).batches
    write(engine, transitions.record_verified, upload(engine, batch.id), None, 3)
    load_verdicts(engine, take(engine, batch.id), verdicts(_emails(2)))
    assert read(engine, take_caps)[0].committed == 3
