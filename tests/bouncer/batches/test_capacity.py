"""Room for batches on workers: no more than the design says, however many ask, and always some for what is urgent."""

import pytest
from sqlalchemy import Engine, Update, func, select, update

from bouncer.batches.batches_in_flight import Places, queue_ahead, rooms_for
from bouncer.credits.caps import set_cap
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch, BatchStatus, Priority
from tests.bouncer.contacts import (
    ACCOUNT,
    at_once,
    batch_rows,
    claim,
    new_request,
    queue,
    set_back,
    small_batches,
    upload,
)
from tests.statements import counting_statements

_SLOTS = 15
_AHEAD = 5


def _claim_by_priority(engine: Engine) -> list[int]:
    claimed = claim(engine, batches=1_000, batch_size=10, slots=_SLOTS)
    return [batch.priority for batch in claimed.batches]


def _queue(engine: Engine, contacts: int, priority: Priority) -> int:
    request = new_request(engine)
    queue(
        engine,
        (f"{priority.name}{number}@example{number % 7}.com" for number in range(contacts)),
        request_id=request,
        priority=priority,
    )
    return request


def test_batches_that_end_together_do_not_turn_the_whole_queue_into_batches(engine: Engine) -> None:
    """Each saw the room that all of them had: ten at once made 65 batches of a queue where 20 were wanted."""
    _queue(engine, 1_000, Priority.NORMAL)

    def refill() -> int:
        # As tasks.dispatch.refill does, which saw room for all of it.
        return len(claim(engine, batches=_SLOTS + _AHEAD, batch_size=10, slots=_SLOTS).batches)

    assert sum(at_once([refill] * 10)) == _SLOTS + _AHEAD


def test_something_urgent_has_room_however_much_is_ready(engine: Engine) -> None:
    """With thirty batches ready a critical request had to wait until ten of them had ended."""
    _queue(engine, 400, Priority.LOW)
    for batch in small_batches(engine, _SLOTS):
        upload(engine, batch)
    small_batches(engine, 30)
    assert _claim_by_priority(engine) == []
    _queue(engine, 400, Priority.HIGH)
    assert _claim_by_priority(engine) == [Priority.HIGH] * _AHEAD
    assert _claim_by_priority(engine) == []
    _queue(engine, 400, Priority.CRITICAL)
    assert _claim_by_priority(engine) == [Priority.CRITICAL] * _AHEAD
    assert _claim_by_priority(engine) == []


def test_of_batches_sent_in_one_second_one_is_ahead_of_the_other(engine: Engine) -> None:
    """Each took the other to be ahead of it, so after a cancellation neither was looked at ever again."""
    earlier, later = small_batches(engine, 2)
    for batch in (earlier, later):
        upload(engine, batch)
        set_back(engine, Batch.uploaded_ts, 100, Batch.id == batch)
    with engine.begin() as connection:
        one_moment = select(func.max(Batch.uploaded_ts))
        connection.execute(update(Batch).values(uploaded_ts=connection.scalar(one_moment)))
    assert read(engine, queue_ahead, ACCOUNT, besides=earlier).in_flight == 0
    assert read(engine, queue_ahead, ACCOUNT, besides=later).in_flight == 1
    assert read(engine, queue_ahead, ACCOUNT).in_flight == 2


def test_contacts_that_a_cap_holds_back_make_no_room_for_others(engine: Engine) -> None:
    """A critical request that has reached its cap waits on; it must not have the whole queue made into batches."""
    _queue(engine, 1_000, Priority.NORMAL)
    assert len(_claim_by_priority(engine)) == _SLOTS + _AHEAD
    capped = _queue(engine, 50, Priority.CRITICAL)
    write(engine, set_cap, capped, 0)
    refused = claim(engine, batches=5, batch_size=10, slots=_SLOTS)
    assert (refused.batches, len(refused.capped)) == ((), 1)
    assert len(batch_rows(engine)) == _SLOTS + _AHEAD


@pytest.mark.parametrize(
    ("ages", "places"),
    [
        ([(100 + number, 80 + number) for number in range(8)], _SLOTS),
        ([(100 - 20 * number, 80 - 20 * number) for number in range(4)], 3),
        ([(100 - 20 * number, 79 - 20 * number) for number in range(4)], 3),
        ([], 2),
    ],
    ids=["side by side", "one after another", "one after another, by two clocks", "nothing seen yet"],
)
def test_quick_batches_that_nobody_saw_run_tell_all_the_same_that_they_ran_side_by_side(
    engine: Engine, ages: list[tuple[int, int]], places: int
) -> None:
    """An account that is served side by side never got more than six batches of 20 s in flight: it took 2.7 times."""
    _queue(engine, 1_000 * (len(ages) + 3), Priority.NORMAL)
    batches = claim(engine, batches=len(ages) + 3, batch_size=1_000).batches
    for batch, (began, ended) in zip(batches[: len(ages)], ages, strict=True):
        for column, age in ((Batch.running_ts, began), (Batch.verified_ts, ended)):
            set_back(engine, column, age, Batch.id == batch.id)
        write(engine, lambda c, n=batch.id: c.execute(_status(n, BatchStatus.COMPLETED)))
    for batch in batches[-2:]:
        upload(engine, batch.id)
    ahead = read(engine, queue_ahead, ACCOUNT)
    assert ahead.in_flight == 2
    # Fifty seconds may be queued, at 20 s for each batch.
    assert ahead.usable(Places(_SLOTS, 50.0, 1_000)) == places
    assert ahead.may_begin_at_once is (places != 3)
    # Only a new account's batches are worth an early look.
    assert ahead.holds_back_unknown(Places(_SLOTS, 50.0, 1_000)) is (ages == [])
    assert not ahead.holds_back_unknown(Places(_SLOTS, 0.0, 1_000))


def test_many_accounts_are_looked_at_as_one_is(engine: Engine) -> None:
    """Each had two statements of its own in every look, which is every few seconds: 90 for twenty accounts."""
    _queue(engine, 70, Priority.NORMAL)
    slow, quick, *in_flight = (batch.id for batch in claim(engine, batches=7, batch_size=10).batches)
    for batch, account, began in ((slow, ACCOUNT, 1_000), (quick, "quick", 2)):
        set_back(engine, Batch.running_ts, began, Batch.id == batch)
        set_back(engine, Batch.verified_ts, 1, Batch.id == batch)
        write(engine, lambda c, n=batch: c.execute(_status(n, BatchStatus.COMPLETED)))
        _give(engine, batch, account)
    for batch in in_flight:
        upload(engine, batch)
    for batch in in_flight[:2]:
        _give(engine, batch, "quick")
    places = {name: Places(_SLOTS, 50.0, 10) for name in (ACCOUNT, "quick", *(f"new{n}" for n in range(600)))}
    with counting_statements(engine) as statements:
        together = read(engine, rooms_for, places, None)
    assert len(statements) <= 9
    for name in (ACCOUNT, "quick", "new7"):
        assert together[name] == read(engine, rooms_for, {name: places[name]}, None)[name]
    # Where an address takes 100 s, three batches are enough; those of 0.1 s fill all places.
    assert (together[ACCOUNT], together["quick"], together["new7"]) == (1, _SLOTS + _AHEAD - 2, _SLOTS + _AHEAD)


def _give(engine: Engine, batch: int, account: str) -> None:
    write(engine, lambda connection: connection.execute(update(Batch).where(Batch.id == batch).values(account=account)))


def _status(batch: int, status: BatchStatus) -> Update:
    return update(Batch).where(Batch.id == batch).values(status=status)
