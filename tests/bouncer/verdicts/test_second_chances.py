"""Contacts without a clear verdict are retried after their time, a few times, and nobody waits for it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, update

from bouncer.batches import endings
from bouncer.batches.load import load
from bouncer.credits.caps import set_cap
from bouncer.queue.due_second_chances import take_second_chances
from bouncer.requests.cancelling import withdraw_waiting
from bouncer.requests.progress import note_open
from bouncer.storage.dialects import database_now
from bouncer.storage.engine import read, write
from bouncer.storage.tables import QueuedContact, Request, SecondChance
from bouncer.verdicts.matching import prepare
from bouncer.verdicts.second_chances import Chances, count_second_chances
from tests.bouncer.contacts import (
    at_once,
    claim,
    load_verdicts,
    new_request,
    queue,
    queue_again,
    queue_rows,
    sent,
    set_back,
    take,
    upload,
    verdicts,
    verify,
)

_HOUR = 3_600


def _verified(engine: Engine, found: dict[str, dict[str, Any]], chances: Chances | None = None) -> None:
    queue(engine, found)
    _load_next(engine, found, chances)


def _load_next(engine: Engine, found: dict[str, dict[str, Any]], chances: Chances | None = None) -> None:
    (batch,) = claim(engine).batches
    answers = [verdict for address in sent(engine, batch.id) for verdict in verdicts([address], **found[address])]
    write(engine, load, verify(engine, batch.id), prepare(answers), chances or Chances())
    _complete(engine)


def _complete(engine: Engine) -> None:
    write(engine, lambda c: c.execute(update(Request).values(bouncer_completed_ts=func.current_timestamp())))


def _hours_to_wait(engine: Engine) -> dict[int, int | None]:
    query = select(SecondChance.queue_id, SecondChance.try_again_ts, func.current_timestamp())
    return {
        id_: None if moment is None else round((moment - _moment(now)).total_seconds() / _HOUR)
        for id_, moment, now in read(engine, lambda c: c.execute(query).all())
    }


def _moment(now: Any) -> datetime:
    return (now if isinstance(now, datetime) else datetime.fromisoformat(now)).replace(tzinfo=None)


def _take(engine: Engine) -> int:
    return write(engine, take_second_chances, 100)[1]


def test_who_gets_a_second_chance_and_when(engine: Engine) -> None:
    """Unknown ones after a day, those for which Bouncer names a time then, all others never."""
    later = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
    _verified(
        engine,
        {
            "fine@example.com": {"status": "deliverable"},
            "unknown@example.com": {"status": "unknown"},
            "grey@example.com": {"status": "unknown", "retryAfter": later},
            "risky@example.com": {"status": "risky", "retryAfter": later},
        },
    )
    assert _hours_to_wait(engine) == {2: 24, 3: 3, 4: 3}
    assert read(engine, count_second_chances) == 3
    assert _take(engine) == 0


@pytest.mark.parametrize(("most", "sent_in_all"), [(0, 1), (1, 2), (2, 3)])
def test_it_is_tried_again_a_set_number_of_times(engine: Engine, most: int, sent_in_all: int) -> None:
    """A contact that stays unknown is asked for again so many times and no more; its last verdict stands."""
    found = {"a@example.com": {"status": "unknown"}}
    chances = Chances(most=most)
    _verified(engine, found, chances)
    batches = 1
    for _ in range(4):
        set_back(engine, SecondChance.try_again_ts, 1, SecondChance.try_again_ts.is_not(None))
        if _take(engine):
            _load_next(engine, found, chances)
            batches += 1
    assert batches == sent_in_all
    (row,) = queue_rows(engine)
    assert (row.status, row.bouncer_status) == ("completed", "unknown")


def test_a_clear_verdict_ends_it(engine: Engine) -> None:
    """What was found out the second time counts, goes at low priority, and is not asked for a third time."""
    _verified(engine, {"a@example.com": {"status": "risky", "retryAfter": "2020-01-01T00:00:00Z"}})
    assert _take(engine) == 1
    (waiting,) = queue_rows(engine)
    assert (waiting.status, waiting.priority, waiting.batch_id, waiting.bouncer_status) == ("queued", 25, 1, "risky")
    # The risky verdict of this day would be fresh enough for anybody else.
    _load_next(engine, {"a@example.com": {"status": "deliverable"}})
    (row,) = queue_rows(engine)
    assert (row.status, row.batch_id, row.bouncer_status) == ("completed", 2, "deliverable")
    assert read(engine, count_second_chances) == 0
    assert _take(engine) == 0


def test_a_second_chance_takes_the_verdict_that_the_address_got_elsewhere(engine: Engine) -> None:
    """What another request has paid for since the unknown verdict settles the contact at no cost."""
    _verified(engine, {"a@example.com": {"status": "unknown"}})
    an_hour_ago = {"completed_ts": read(engine, database_now) - timedelta(hours=1)}
    write(engine, lambda c: c.execute(update(QueuedContact).values(an_hour_ago)))
    queue_again(engine, [1])
    _load_next(engine, {"a@example.com": {"status": "deliverable"}})
    set_back(engine, SecondChance.try_again_ts, 1)
    assert _take(engine) == 1
    claimed = claim(engine)
    assert (claimed.reused, claimed.batches) == (1, ())
    assert {(row.status, row.bouncer_status, row.batch_id) for row in queue_rows(engine)} == {
        ("completed", "deliverable", 2)
    }


def _fail(engine: Engine, batch_id: int) -> None:
    assert write(engine, endings.fail, take(engine, batch_id), "Bouncer answered 400") == 0


def _lose(engine: Engine, batch_id: int) -> None:
    write(engine, lambda c: c.execute(update(QueuedContact).values(attempts=endings.MOST_ATTEMPTS)))
    write(engine, endings.lose, upload(engine, batch_id), "Bouncer answered 404")


def _answer_nothing(engine: Engine, batch_id: int) -> None:
    write(engine, lambda c: c.execute(update(QueuedContact).values(attempts=endings.MOST_ATTEMPTS)))
    load_verdicts(engine, verify(engine, batch_id), [])


def _cancel(engine: Engine, batch_id: int) -> None:
    write(engine, endings.dissolve, take(engine, batch_id))
    write(engine, lambda c: c.execute(update(Request).values(bouncer_cancelled_ts=func.current_timestamp())))
    assert write(engine, withdraw_waiting, 1) == 1
    assert read(engine, lambda c: c.scalar(select(Request.bouncer_cancelled))) == 0


@pytest.mark.parametrize("go_wrong", [_fail, _lose, _answer_nothing, _cancel])
def test_a_second_chance_that_fails_leaves_the_contact_its_verdict(
    engine: Engine, go_wrong: Callable[[Engine, int], None]
) -> None:
    """A contact that was finished is not failed by another try; it stays completed, with the verdict that it had."""
    _verified(engine, {"a@example.com": {"status": "risky", "retryAfter": "2020-01-01T00:00:00Z"}})
    assert _take(engine) == 1
    (batch,) = claim(engine).batches
    go_wrong(engine, batch.id)
    (row,) = queue_rows(engine)
    assert (row.status, row.batch_id, row.bouncer_status, row.error_message) == ("completed", 1, "risky", None)
    assert row.completed_ts is not None
    assert read(engine, count_second_chances) == 0


def test_a_second_chance_waits_for_room_under_its_requests_cap(engine: Engine) -> None:
    """Nothing is queued that the cap keeps in the queue, where it would let every ingest end capped."""
    found = {f"a{number}@example.com": {"status": "risky", "retryAfter": "2020-01-01T00:00:00Z"} for number in range(3)}
    _verified(engine, found)
    write(engine, set_cap, 1, 3)
    assert _take(engine) == 0
    assert {row.status for row in queue_rows(engine)} == {"completed"}
    assert read(engine, count_second_chances) == 3
    write(engine, set_cap, 1, 5)
    set_back(engine, SecondChance.try_again_ts, 1)
    assert _take(engine) == 2
    set_back(engine, SecondChance.try_again_ts, 1, SecondChance.try_again_ts.is_not(None))
    assert _take(engine) == 0
    (batch,) = claim(engine).batches
    assert batch.quantity == 2


def test_each_chance_is_taken_once(engine: Engine) -> None:
    """Several ticks at the same moment queue a contact once."""
    _verified(engine, {f"a{number}@example.com": {"status": "unknown"} for number in range(10)})
    set_back(engine, SecondChance.try_again_ts, 1)
    assert sum(at_once([lambda: _take(engine)] * 4)) == 10
    assert {row.status for row in queue_rows(engine)} == {"queued"}


def test_a_request_is_complete_before_second_chances(engine: Engine) -> None:
    """They wait until the last contact of their request is finished, and do not open the request again."""
    request = new_request(engine)
    queue(engine, ["a@example.com"], request_id=request)
    _load_next(engine, {"a@example.com": {"status": "unknown"}})
    set_back(engine, SecondChance.try_again_ts, 1)
    write(engine, note_open, request)
    assert _take(engine) == 0
    _complete(engine)
    set_back(engine, SecondChance.try_again_ts, 1)
    assert _take(engine) == 1
    assert len(claim(engine).batches) == 1
    assert read(engine, lambda c: c.scalar(select(Request.bouncer_completed_ts))) is not None


def test_contacts_that_somebody_has_dealt_with_are_left_alone(engine: Engine) -> None:
    """A contact of a cancelled request, or one that waits anyway, gets no second chance."""
    _verified(engine, {f"a{number}@example.com": {"status": "unknown"} for number in range(2)})
    set_back(engine, SecondChance.try_again_ts, 1)
    write(engine, lambda c: c.execute(update(QueuedContact).where(QueuedContact.queue_id == 1).values(status="queued")))
    write(engine, lambda c: c.execute(update(Request).values(bouncer_cancelled_ts=func.current_timestamp())))
    assert _take(engine) == 0
    assert read(engine, count_second_chances) == 0
    assert [(row.status, row.priority) for row in queue_rows(engine)] == [("queued", 50), ("completed", 50)]
