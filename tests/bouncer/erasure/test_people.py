"""A person is gone from every table, neighbours stay, and sums stay true."""

import pytest
from sqlalchemy import Engine, func, insert, select, update

from bouncer.costs.ledger import take_ledger
from bouncer.erasure.addresses import Wanted
from bouncer.erasure.erasing import erase_person, erase_request
from bouncer.errors import InputRefused
from bouncer.storage.engine import read
from bouncer.storage.tables import Contact, Request, Result, User
from tests.bouncer.contacts import (
    load_verdicts,
    queue,
    queue_rows,
    verdicts,
    verify,
)
from tests.bouncer.erasure.people import ANN, BOB, EVE, all_of, assert_gone, erase, one_batch
from tests.bouncer.storage.existing_tables import on_sqlite


def test_a_person_is_gone_from_every_table(engine: Engine) -> None:
    """Contact, queue, verdict, the user's address, names of requests, and what Bouncer suggested for another."""
    batch = one_batch(engine, ANN, BOB)
    load_verdicts(engine, verify(engine, batch), verdicts([ANN, BOB], didYouMean=ANN.upper()))
    with engine.begin() as connection:
        connection.execute(insert(User).values(email=ANN.upper()))
        connection.execute(update(Request).values(name=f"list of {ANN}"))
    report = erase(engine)
    assert (report.contacts, report.queue_rows, report.results, report.users) == (1, 1, 1, 1)
    assert (report.batches_to_delete, report.batches_at_bouncer) == (1, 0)
    assert_gone(engine)
    assert BOB in all_of(engine)
    assert erase(engine).is_nothing


def test_neighbours_with_longer_addresses_stay(engine: Engine) -> None:
    """joann@… and ann@….uk are other people."""
    others = ["joann@example.com", "ann@example.com.uk", "x.ann@example.com", "ann@example.company"]
    queue(engine, ["ann@example.com", "ANN@Example.com ", *others])
    assert erase(engine, "ann@example.com").contacts == 2
    assert [row.email for row in queue_rows(engine)] == others


def test_the_ledger_stays_true(engine: Engine) -> None:
    """What was paid for an erased address was paid: before it was erased, and while it was on its way."""
    loaded = one_batch(engine, ANN, BOB)
    load_verdicts(engine, verify(engine, loaded), verdicts([ANN, BOB]))
    before = read(engine, take_ledger).total
    erase(engine)
    assert read(engine, take_ledger).total == before

    on_its_way = verify(engine, one_batch(engine, ANN, EVE))
    erase(engine)
    report = load_verdicts(engine, on_its_way, verdicts([ANN, EVE]))
    assert (report.settled, report.missing, report.unmatched, report.maybe_paid) == (1, 0, 0, 0)
    after = read(engine, take_ledger).total
    assert (after.charged, after.expected, after.difference) == (4, 4, 0)
    assert_gone(engine)


def test_an_application_that_changed_the_address_keeps_its_contact(engine: Engine) -> None:
    """A contact that had the address once is another person's now: the digest and the verdict go, the row stays."""
    batch = one_batch(engine, ANN)
    load_verdicts(engine, verify(engine, batch), verdicts([ANN]))
    with engine.begin() as connection:
        connection.execute(update(Contact).values(email=EVE))
    erase(engine)
    assert_gone(engine)
    assert read(engine, lambda c: c.execute(select(Contact.email, Contact.bouncer_status)).all()) == [(EVE, None)]
    assert read(engine, lambda c: c.scalar(select(func.count()).select_from(Result))) == 0


def test_rows_of_an_application_stay_and_are_named(engine: Engine) -> None:
    """A table with columns of its own is the application's: what was written into it is gone, the rest is reported."""
    batch = one_batch(engine, ANN)
    load_verdicts(engine, verify(engine, batch), verdicts([ANN]))
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE Contacts_Global ADD COLUMN telephone varchar(20)")
    report = erase(engine)
    assert any("Contacts_Global" in place for place in report.not_reached)
    row = read(engine, lambda c: c.execute(select(Contact.__table__)).one())
    assert (row.email, row.bouncer_address_key, row.bouncer_status) == (ANN, None, None)
    assert queue_rows(engine) == []


def test_looking_changes_nothing(engine: Engine) -> None:
    """A dry run tells what would go, and everything is as it was."""
    one_batch(engine, ANN, BOB)
    before = all_of(engine)
    report = erase_person(engine, ANN, exports=[], dry_run=True)
    assert (report.contacts, report.batches_undone, report.dry_run) == (1, 1, True)
    request = queue_rows(engine)[0].request_id
    assert erase_request(engine, request, by="me", exports=[], dry_run=True).queue_rows == 2
    assert all_of(engine) == before


@on_sqlite
@pytest.mark.parametrize("given", ["", "ann", "@", "ann@", "a b@example.com"])
def test_what_is_no_address_is_refused(engine: Engine, given: str) -> None:
    """Half an address would be found in everybody's."""
    with pytest.raises(InputRefused):
        erase(engine, given)


def test_a_short_name_is_not_looked_for_in_every_text() -> None:
    """``LIKE '%a%'`` would bring ten million contacts into memory."""
    wanted = Wanted.of("a@example.com")
    sql = str(wanted.maybe_in(Contact.email).compile(compile_kwargs={"literal_binds": True}))
    assert "a@" in sql
