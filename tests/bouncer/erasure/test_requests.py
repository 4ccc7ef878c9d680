"""A request is gone with its contacts; what it cost and what others wait for stay."""

from sqlalchemy import Engine, select

from bouncer.costs.ledger import take_ledger
from bouncer.erasure.erasing import erase_request
from bouncer.requests.counting import count_contacts
from bouncer.storage.engine import read
from bouncer.storage.tables import Request
from tests.bouncer.contacts import (
    claim,
    load_verdicts,
    new_request,
    queue,
    queue_again,
    queue_rows,
    verdicts,
    verify,
)
from tests.bouncer.erasure.people import ANN, BOB, assert_gone


def test_a_request_is_gone_and_its_costs_are_not(engine: Engine) -> None:
    """Contacts, verdicts and name go; the sums of the ledger and the contacts of others stay."""
    shared, own = queue(engine, [BOB, ANN])
    request = queue_rows(engine)[0].request_id
    (batch,) = claim(engine, batches=1).batches
    load_verdicts(engine, verify(engine, batch.id), verdicts([ANN, BOB]))
    other = new_request(engine)
    queue_again(engine, [shared], request_id=other)
    costs = read(engine, take_ledger).total
    report = erase_request(engine, request, by="me", exports=[])
    assert (report.contacts, report.queue_rows) == (1, 2)
    assert_gone(engine)
    assert read(engine, take_ledger).total == costs
    assert read(engine, lambda c: c.scalar(select(Request.name).where(Request.request_id == request))) is None
    assert [(row.email, row.request_id, row.bouncer_status) for row in queue_rows(engine)] == [
        (BOB, other, "deliverable")
    ]
    assert own


def test_a_request_under_way_ends_and_others_get_their_verdicts(engine: Engine) -> None:
    """What others wait for too is not paid for again: the verdict that is on its way becomes theirs."""
    shared, _ = queue(engine, [BOB, ANN])
    request = queue_rows(engine)[0].request_id
    (claimed,) = claim(engine, batches=1).batches
    batch = verify(engine, claimed.id)
    other = new_request(engine)
    queue_again(engine, [shared], request_id=other)
    erase_request(engine, request, by="me", exports=[])
    report = load_verdicts(engine, batch, verdicts([ANN, BOB]))
    assert (report.settled, report.unmatched) == (1, 0)
    assert [(row.email, row.request_id, row.status) for row in queue_rows(engine)] == [(BOB, other, "completed")]
    assert read(engine, count_contacts, request).total == 0
    assert_gone(engine)
