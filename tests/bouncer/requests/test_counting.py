"""How far everything has come is counted from the rows themselves."""

import pytest
from sqlalchemy import Engine, update

from bouncer.batches import admission, endings, transitions
from bouncer.errors import InputRefused
from bouncer.requests.counting import (
    BatchCounts,
    Progress,
    count_batches,
    count_contacts,
    count_dead_letters,
    count_verdicts,
    require_request,
)
from bouncer.storage.engine import read, write
from bouncer.storage.tables import DeadLetter
from tests.bouncer.contacts import claim, load_verdicts, new_request, queue, queue_again, take, verdicts, verify


def test_nothing_was_ever_queued(engine: Engine) -> None:
    """An empty database counts to nothing."""
    assert read(engine, count_contacts) == Progress()
    assert read(engine, count_batches) == BatchCounts()
    assert read(engine, count_verdicts) == {}
    assert read(engine, count_dead_letters) == 0


def test_contacts_by_where_they_stand(engine: Engine) -> None:
    """Every queued contact is in exactly one of the figures, of its request and of all."""
    first, second = new_request(engine), new_request(engine)
    queue(engine, ["a@example.com", "b@example.com", "c@example.com", "invalid"], request_id=first)
    (batch,) = claim(engine).batches
    load_verdicts(engine, verify(engine, batch.id), verdicts(["a@example.com", "b@example.com"]))
    queue(engine, ["d@example.com"], request_id=second)
    claim(engine, request_id=second)
    queue(engine, ["e@example.com"], request_id=second)
    assert read(engine, count_contacts, first) == Progress(queued=1, assigned=0, completed=2, failed=1)
    assert read(engine, count_contacts, second) == Progress(queued=1, assigned=1)
    total = read(engine, count_contacts)
    assert total == Progress(queued=2, assigned=1, completed=2, failed=1)
    assert (total.total, total.settled, total.open) == (6, 3, 3)


def test_batches_and_what_went_oddly(engine: Engine) -> None:
    """Batches are counted by status, with what was held, lost, charged without a verdict, missing and unmatched."""
    request = new_request(engine)
    queue(engine, (f"a{number}@example.com" for number in range(6)), request_id=request)
    odd, lost, held = (batch.id for batch in claim(engine, batches=3, batch_size=2).batches)
    load_verdicts(engine, verify(engine, odd), verdicts(["stranger@example.com"]))
    for batch, hold in ((lost, False), (held, True)):
        work = take(engine, batch)
        write(engine, admission.admit_upload, work, 15)
        write(engine, transitions.record_lost_upload, work, hold=hold)
    counts = read(engine, count_batches, request)
    assert counts == BatchCounts(
        by_state={"completed": 1, "to be sent again": 1, "held": 1},
        held=1,
        possible_double_payments=6,
        missing=2,
        unmatched=1,
    )
    assert counts.under_way == 2
    assert read(engine, count_batches) == counts
    assert read(engine, count_batches, new_request(engine)) == BatchCounts()


def test_verdicts(engine: Engine) -> None:
    """Verdicts are counted by contact, the frequent ones first, those that were used again with their request."""
    first, second = new_request(engine), new_request(engine)
    contacts = queue(engine, ["a@example.com", "b@example.com", "c@example.com"], request_id=first)
    (batch,) = claim(engine).batches
    answers = verdicts(["a@example.com"], status="risky") + verdicts(["b@example.com", "c@example.com"])
    load_verdicts(engine, verify(engine, batch.id), answers)
    assert list(read(engine, count_verdicts, first).items()) == [("deliverable", 2), ("risky", 1)]
    queue_again(engine, contacts[1:2], request_id=second)
    claim(engine)
    assert read(engine, count_verdicts, second) == {"deliverable": 1}
    assert read(engine, count_verdicts) == {"deliverable": 3, "risky": 1}


def test_dead_letters(engine: Engine) -> None:
    """Letters count until a person has reviewed them."""
    queue(engine, ["a@example.com", "b@example.com"])
    for batch in claim(engine, batches=2, batch_size=1).batches:
        write(engine, endings.fail, take(engine, batch.id), "refused")
    assert read(engine, count_dead_letters) == 2
    write(engine, lambda c: c.execute(update(DeadLetter).where(DeadLetter.id == 1).values(reviewed=True)))
    write(engine, lambda c: c.execute(update(DeadLetter).where(DeadLetter.id == 2).values(reviewed=None)))
    assert read(engine, count_dead_letters) == 1


def test_a_request_that_there_is_not_is_told(engine: Engine) -> None:
    """A mistyped number must not pass for a request of which nothing is left to do."""
    request = new_request(engine)
    read(engine, require_request, request)
    with pytest.raises(InputRefused, match=f"there is no request {request + 1}; bouncer-flows status lists them"):
        read(engine, require_request, request + 1)
