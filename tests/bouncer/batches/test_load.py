"""Loads are all or nothing, find every contact by its address, and let no odd verdict keep the others out."""

import json
import random
import signal
import subprocess
import sys
from functools import partial

import pytest
from sqlalchemy import Delete, Engine, Update, delete, select, update
from sqlalchemy.exc import DBAPIError

from bouncer.addresses.normalisation import address_key
from bouncer.api.answers import Verdict
from bouncer.batches import transitions
from bouncer.batches.endings import MOST_ATTEMPTS
from bouncer.batches.load import LoadReport, load
from bouncer.batches.state import BatchState, BatchWork
from bouncer.costs.ledger import take_ledger
from bouncer.errors import OwnershipLost
from bouncer.requests.counting import count_batches
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch, Contact, QueuedContact
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.matching import Prepared, await_verdicts, prepare
from bouncer.verdicts.second_chances import count_second_chances
from tests.bouncer.contacts import (
    at_once,
    batch_rows,
    claim,
    load_verdicts,
    queue,
    queue_again,
    queue_rows,
    refusing_update,
    sent,
    set_back,
    take,
    upload,
    verdicts,
    verify,
)
from tests.bouncer.storage.existing_tables import execute, on_servers, rows
from tests.statements import counting_statements

_ALL_TABLES = ("Contacts_Global", "Bouncer_Batches", "Bouncer_Queue", "Bouncer_Results", "Bouncer_Dead_Letter_Queue")
_LOAD_UNTIL_KILLED = """
import os, signal, sys
from sqlalchemy import event
from bouncer.api.answers import Verdict
from bouncer.batches.load import load
from bouncer.batches.ownership import take
from bouncer.storage.engine import engine_for, write
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.matching import prepare
engine = engine_for(sys.argv[1])
batch = write(engine, take, int(sys.argv[2]), "worker")
@event.listens_for(engine, "before_cursor_execute")
def kill(connection, cursor, statement, *rest):
    if statement.startswith("UPDATE") and "Bouncer_Queue" in statement:
        os.kill(os.getpid(), signal.SIGKILL)
write(engine, load, batch, prepare([Verdict(email=a, status="risky", reason="low_quality") for a in sys.argv[3:]]))
"""


def _addresses(count: int) -> list[str]:
    return [f"a{number}@example{number % 3}.com" for number in range(count)]


def _verified(engine: Engine, addresses: list[str]) -> BatchWork:
    queue(engine, addresses)
    (batch,) = claim(engine).batches
    return verify(engine, batch.id)


def test_verdicts_arrive_everywhere(engine: Engine) -> None:
    """A load writes the detailed result, the contact's latest verdict, the queue and the batch."""
    work = _verified(engine, ["anna@example.com"])
    (verdict,) = verdicts(
        ["anna@example.com"],
        status="risky",
        reason="low_deliverability",
        domain={"name": "example.com", "acceptAll": "yes", "disposable": "no", "free": "no"},
        account={"role": "no", "disabled": "no", "fullMailbox": "unknown"},
        dns={"type": "MX", "record": "mx.example.com."},
        provider="google",
        score=42,
        toxic="no",
        toxicity=1,
        retryAfter="2027-01-02T03:04:05.678+01:00",
        didYouMean="anne@example.com",
        insights={"not": "documented"},
    )
    report = load_verdicts(engine, work, [verdict])
    assert report == LoadReport(settled=1, missing=0, unmatched=0, by_status={"risky": 1})
    (contact,) = queue_rows(engine)
    assert (contact.status, contact.batch_id, contact.error_message) == ("completed", work.id, None)
    assert (contact.bouncer_status, contact.bouncer_reason, contact.bouncer_score) == (
        "risky",
        "low_deliverability",
        42,
    )
    assert contact.completed_ts is not None
    assert contact.bouncer_verified_ts is not None
    (batch,) = batch_rows(engine)
    assert (batch.status, batch.owner, batch.processed, batch.error_message) == ("completed", None, 1, None)
    assert batch.completed_ts is not None
    (result,) = rows(engine, "Bouncer_Results")["Bouncer_Results"]
    assert json.loads(result["domain_info"])["acceptAll"] == "yes"
    assert json.loads(result["account_info"])["fullMailbox"] == "unknown"
    assert json.loads(result["dns_info"])["record"] == "mx.example.com."
    assert str(result["retry_after_ts"]).startswith("2027-01-02 02:04:05")
    assert (result["provider"], result["score"], result["toxic"], result["toxicity"]) == ("google", 42, "no", 1)
    assert result["did_you_mean"] == "anne@example.com"


def test_joined_on_the_address_in_any_order_and_case(engine: Engine) -> None:
    """Every contact gets the verdict on its own address, however Bouncer shuffles and writes them."""
    work = _verified(engine, [f"Person{number}@Example.com" for number in range(200)] + ["ben@bücher.example"])
    emails = [
        random.Random(number).choice([str.lower, str.upper])(f"person{number}@example.com") for number in range(100)
    ]
    emails += [f" Person{number}@eXample.com\n" for number in range(100, 200)]
    answers = [
        verdict
        for number, email in enumerate([*emails, "Ben@BÜCHER.example"])
        for verdict in verdicts([email], score=number)
    ]
    random.Random(1).shuffle(answers)
    assert load_verdicts(engine, work, answers).settled == 201
    assert [row.bouncer_score for row in queue_rows(engine)] == list(range(201))


def test_verdicts_that_match_nothing_are_counted(engine: Engine) -> None:
    """Verdicts on addresses that were not sent, or on none, are counted and shown, and disturb no other."""
    work = _verified(engine, ["anna@example.com"])
    strangers = [*verdicts(["stranger@example.com", "stranger@example.com", "@"]), Verdict(), Verdict(email="not sent")]
    report = load_verdicts(engine, work, [*strangers, *verdicts(["anna@example.com"])])
    assert (report.settled, report.missing, report.unmatched) == (1, 0, 5)
    (batch,) = batch_rows(engine)
    assert (batch.status, batch.missing, batch.unmatched) == ("completed", 0, 5)


@pytest.mark.parametrize("lacking", ["status", "reason"])
@pytest.mark.parametrize("told", [None, ""])
def test_an_answer_without_status_or_reason_is_no_verdict(engine: Engine, lacking: str, told: str | None) -> None:
    """Such an address was once stored as unknown; now it waits again, and is shown as one that came back without."""
    work = _verified(engine, ["anna@example.com", "ben@example.com"])
    answers = [*verdicts(["anna@example.com"], **{lacking: told}), *verdicts(["ben@example.com"])]
    report = load_verdicts(engine, work, answers)
    assert (report.settled, report.missing, report.unmatched) == (1, 1, 1)
    assert [row.status for row in queue_rows(engine)] == ["queued", "completed"]


def test_the_last_of_several_verdicts_on_an_address_counts(engine: Engine) -> None:
    """Bouncer has named an address twice; its contact is one, and its verdict is one."""
    work = _verified(engine, ["anna@example.com"])
    twice = [*verdicts(["anna@example.com"], status="unknown"), *verdicts(["anna@example.com"])]
    report = load_verdicts(engine, work, twice)
    assert (report.settled, report.missing, report.unmatched) == (1, 0, 0)
    assert [row.bouncer_status for row in queue_rows(engine)] == ["deliverable"]


def test_a_clear_verdict_is_not_replaced_by_unknown(engine: Engine) -> None:
    """Of two verdicts on one address, in different letter case, the one that tells something counts."""
    work = _verified(engine, ["anna@example.com"])
    twice = [*verdicts(["ANNA@example.com"]), *verdicts(["anna@example.com"], status="unknown")]
    report = load_verdicts(engine, work, twice)
    assert (report.settled, report.missing, report.unmatched) == (1, 0, 0)
    assert [row.bouncer_status for row in queue_rows(engine)] == ["deliverable"]


def test_addresses_without_a_verdict_are_sent_again_and_then_fail(engine: Engine) -> None:
    """A contact that comes back without a verdict is requeued, and fails with the reason the third time."""
    queue(engine, ["anna@example.com", "ben@example.com"])
    for attempt in range(1, MOST_ATTEMPTS + 1):
        (batch,) = claim(engine).batches
        report = load_verdicts(engine, verify(engine, batch.id), verdicts(["ben@example.com"]))
        assert (report.missing, report.unmatched) == (1, 0 if attempt == 1 else 1)
        assert batch_rows(engine)[-1].missing == 1
        anna, ben = queue_rows(engine)
        assert (anna.attempts, ben.attempts) == (attempt, 0)
        if attempt < MOST_ATTEMPTS:
            assert (anna.status, anna.batch_id, anna.error_message) == ("queued", None, None)
    assert (anna.status, anna.batch_id, ben.status) == ("failed", batch.id, "completed")
    assert anna.error_message == "Bouncer gave no verdict on this address, although it was sent several times"
    assert anna.completed_ts is not None
    assert claim(engine).contacts == 0


def test_no_verdicts_at_all(engine: Engine) -> None:
    """An empty download loses nobody: all are requeued."""
    work = _verified(engine, _addresses(3))
    assert load_verdicts(engine, work, []) == LoadReport(settled=0, missing=3, unmatched=0, by_status={}, maybe_paid=3)
    assert {row.status for row in queue_rows(engine)} == {"queued"}


def test_a_load_that_fails_in_the_middle_changes_nothing(engine: Engine) -> None:
    """When the database refuses the last of many rows, nothing of the batch is there; later all of it is."""
    work = _verified(engine, _addresses(50))
    execute(engine, refusing_update(engine, "Contacts_Global", f"new.global_id = {queue_rows(engine)[-1].global_id}"))
    before = rows(engine, *_ALL_TABLES)
    with pytest.raises(DBAPIError):
        load_verdicts(engine, work, verdicts(_addresses(50)))
    assert rows(engine, *_ALL_TABLES) == before
    execute(engine, "DROP TRIGGER refuse")
    assert load_verdicts(engine, work, verdicts(_addresses(50))).settled == 50


def test_a_worker_that_is_killed_in_a_load_leaves_nothing_half_done(engine: Engine) -> None:
    """After kill -9 between two statements of a load another worker loads the batch as if nothing had been."""
    work = _verified(engine, _addresses(5))
    before = rows(engine, "Contacts_Global", "Bouncer_Queue", "Bouncer_Results")
    url = engine.url.render_as_string(hide_password=False)
    killed = subprocess.run(
        [sys.executable, "-c", _LOAD_UNTIL_KILLED, url, str(work.id), *_addresses(5)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert rows(engine, *before) == before
    set_back(engine, Batch.heartbeat_ts, 60)
    assert load_verdicts(engine, take(engine, work.id, "successor"), verdicts(_addresses(5))).settled == 5
    assert {row.bouncer_status for row in queue_rows(engine)} == {"deliverable"}


def test_loading_again_changes_nothing(engine: Engine) -> None:
    """A load that is repeated, as after a commit whose answer was lost, is refused and changes nothing."""
    work = _verified(engine, _addresses(5))
    load_verdicts(engine, work, verdicts(_addresses(4)))
    before = rows(engine, *_ALL_TABLES)
    with pytest.raises(OwnershipLost):
        load_verdicts(engine, work, verdicts(_addresses(5), status="undeliverable"))
    assert rows(engine, *_ALL_TABLES) == before
    successor = take(engine, work.id, "successor")
    assert successor.state is BatchState.COMPLETED
    with pytest.raises(OwnershipLost):
        load_verdicts(engine, successor, verdicts(_addresses(5), status="undeliverable"))


def test_two_workers_load_the_same_batch(engine: Engine) -> None:
    """Of a worker that was believed dead and its successor one loads the batch, and no contact is counted twice."""
    old = _verified(engine, _addresses(20))
    set_back(engine, Batch.heartbeat_ts, 60)
    new = take(engine, old.id, "successor")
    told: list[str] = []

    def attempt(work: BatchWork) -> LoadReport | None:
        try:
            return load_verdicts(engine, work, verdicts(_addresses(19)))
        except OwnershipLost as lost:
            told.append(str(lost))
            return None

    reports = at_once([partial(attempt, work) for work in (old, new, new, old)])
    (report,) = [report for report in reports if report is not None]
    assert (report.settled, report.missing) == (19, 1)
    assert told == [f"batch {old.id} was taken over by another run; nothing is lost"] * 3
    assert [row.attempts for row in queue_rows(engine)] == [0] * 19 + [1]


def _read_ahead(engine: Engine) -> tuple[BatchWork, Prepared]:
    addresses = _addresses(4)
    work = _verified(engine, addresses)
    prepared = prepare(verdicts([*addresses[:3], "nobody@example.com"]), read(engine, await_verdicts, work.id))
    assert (len(prepared.matched), prepared.unmatched) == (3, 1)
    return work, prepared


@on_servers
def test_a_load_waits_for_no_other(engine: Engine) -> None:
    """While one batch is being loaded others are too, also in a young database, where each is a good part of a table.

    MariaDB 11.8 read the whole queue for each, and with it the rows that the other load had locked.
    """
    queue(engine, (f"a{number}@example.com" for number in range(300)))
    loads = [(verify(engine, batch.id), sent(engine, batch.id)) for batch in claim(engine, batch_size=100).batches]
    (first, its), (second, those), _ = loads
    with engine.connect() as one, engine.connect() as other, one.begin(), other.begin():
        other.exec_driver_sql("SET SESSION innodb_lock_wait_timeout = 1")
        load(one, first, prepare(verdicts(its)))
        assert load(other, second, prepare(verdicts(those))).settled == 100
    assert [row.status for row in batch_rows(engine)] == ["completed", "completed", "downloading"]


def test_contacts_that_were_read_while_the_verdicts_came_are_not_read_again(engine: Engine) -> None:
    """The transaction is the shorter for it, also while other batches are at Bouncer."""
    work, prepared = _read_ahead(engine)
    _verified(engine, ["other@example.com"])
    with counting_statements(engine) as statements:
        report = write(engine, load, work, prepared)
    assert (report.settled, report.missing, report.unmatched) == (3, 1, 1)
    assert [each for each in statements if each.startswith("SELECT") and "Contacts_Global" in each] == []


@pytest.mark.parametrize(
    "leaving", [delete(QueuedContact), update(QueuedContact).values(status="failed", error_message="cancelled")]
)
def test_a_contact_that_left_the_batch_while_the_verdicts_came(engine: Engine, leaving: Delete | Update) -> None:
    """What was read ahead does not hold any more: the one that has gone is left alone."""
    work, prepared = _read_ahead(engine)
    first = queue_rows(engine)[0].queue_id
    write(engine, lambda c: c.execute(leaving.where(QueuedContact.queue_id == first)))
    report = write(engine, load, work, prepared)
    assert (report.settled, report.missing, report.unmatched) == (2, 1, 2)
    assert [row.status for row in queue_rows(engine) if row.queue_id == first] in ([], ["failed"])


def test_all_contacts_left_the_batch_while_the_verdicts_came(engine: Engine) -> None:
    """Nothing is left to be settled, and the batch ends."""
    work, prepared = _read_ahead(engine)
    write(engine, lambda c: c.execute(delete(QueuedContact)))
    report = write(engine, load, work, prepared)
    assert (report.settled, report.missing, report.unmatched) == (0, 0, 4)
    assert [row.status for row in batch_rows(engine)] == ["completed"]


def test_a_batch_takes_no_verdicts_for_another(engine: Engine) -> None:
    """Two are at Bouncer at once, and the answer of one names the addresses of both."""
    queue(engine, _addresses(4))
    first, second = claim(engine, batch_size=2).batches
    verify(engine, second.id)
    report = load_verdicts(engine, verify(engine, first.id), verdicts(_addresses(4)))
    assert (report.settled, report.missing, report.unmatched) == (2, 0, 2)
    assert {(row.batch_id, row.status) for row in queue_rows(engine)} == {
        (first.id, "completed"),
        (second.id, "assigned"),
    }


def test_addresses_that_were_unknown_before_are_counted(engine: Engine) -> None:
    """Forecasts go by them: of one address that was unknown, on two contacts, something was found out."""
    ids = queue(engine, ["anna@example.com", "ben@example.com"])
    (batch,) = claim(engine).batches
    answers = [*verdicts(["anna@example.com"], status="unknown"), *verdicts(["ben@example.com"])]
    load_verdicts(engine, verify(engine, batch.id), answers)
    request = queue_rows(engine)[0].request_id
    queue_again(engine, ids, request_id=request)
    queue(engine, ["Anna@example.com", "carl@example.com"], request_id=request)
    (again,) = claim(engine, fresh_for=FreshFor(days=0)).batches
    answers = [*verdicts(["anna@example.com", "carl@example.com"]), *verdicts(["ben@example.com"], status="unknown")]
    assert load_verdicts(engine, verify(engine, again.id), answers).settled == 4
    assert [(row.unknown_before, row.unknown_resolved) for row in batch_rows(engine)] == [(0, 0), (1, 1)]


def test_contacts_that_were_deleted_meanwhile(engine: Engine) -> None:
    """An application may erase a contact while its batch is under way; the others get their verdicts."""
    work = _verified(engine, ["anna@example.com", "ben@example.com"])
    write(engine, lambda c: c.execute(delete(Contact).where(Contact.email == "anna@example.com")))
    report = load_verdicts(engine, work, verdicts(["anna@example.com", "ben@example.com"]))
    assert (report.settled, report.missing, report.unmatched) == (1, 0, 1)


def test_a_batch_whose_request_was_deleted_meanwhile(engine: Engine) -> None:
    """The run of a batch that an application has deleted ends with a clear word."""
    work = _verified(engine, ["anna@example.com"])
    execute(engine, "DELETE FROM Requests")
    with pytest.raises(OwnershipLost):
        load_verdicts(engine, work, verdicts(["anna@example.com"]))


def test_an_address_that_was_changed_meanwhile(engine: Engine) -> None:
    """A contact whose address the application changes under way does not get the verdict on its old address."""
    work = _verified(engine, ["ana@example.com"])
    write(engine, lambda c: c.execute(update(Contact).values(email="anna@example.com")))
    report = load_verdicts(engine, work, verdicts(["ana@example.com"], status="undeliverable"))
    assert (report.settled, report.missing, report.unmatched) == (0, 1, 1)
    (again,) = claim(engine).batches
    assert sent(engine, again.id) == ["anna@example.com"]
    load_verdicts(engine, verify(engine, again.id), verdicts(["anna@example.com"]))
    assert [(row.status, row.bouncer_status) for row in queue_rows(engine)] == [("completed", "deliverable")]


def test_contacts_without_a_key(engine: Engine) -> None:
    """Contacts in a batch of the plan's own program have no key; they get their verdicts, and a key for later."""
    work = _verified(engine, ["Anna@example.com", "ben@example.com"])
    write(engine, lambda c: c.execute(update(Contact).values(bouncer_address_key=None)))
    assert load_verdicts(engine, work, verdicts(["anna@example.com", "ben@example.com"])).settled == 2
    keys = read(engine, lambda c: c.execute(select(Contact.email, Contact.bouncer_address_key)).all())
    assert [key for _, key in keys] == [address_key(email.lower()) for email, _ in keys]
    queue(engine, ["ANNA@example.com"])
    assert claim(engine).reused == 1


def test_a_second_verdict_replaces_the_first(engine: Engine) -> None:
    """An address that is verified anew has the new verdict as its latest, and both in detail."""
    work = _verified(engine, ["anna@example.com"])
    load_verdicts(engine, work, verdicts(["anna@example.com"], status="unknown", score=1))
    queue_again(engine, [queue_rows(engine)[0].global_id])
    (batch,) = claim(engine).batches
    load_verdicts(engine, verify(engine, batch.id), verdicts(["anna@example.com"]))
    assert queue_rows(engine)[0].bouncer_status == "deliverable"
    assert queue_rows(engine)[0].bouncer_score is None
    assert len(rows(engine, "Bouncer_Results")["Bouncer_Results"]) == 2


@pytest.mark.parametrize("clear", ["deliverable", "risky"])
def test_a_later_unknown_does_not_take_away_what_was_found_out(engine: Engine, clear: str) -> None:
    """The contact keeps its clear verdict, with the moment of it; the detailed result of the later look is kept too."""
    work = _verified(engine, ["anna@example.com"])
    load_verdicts(engine, work, verdicts(["anna@example.com"], status=clear, score=80))
    set_back(engine, Contact.bouncer_verified_ts, 200 * 86_400)
    (known,) = queue_rows(engine)
    queue_again(engine, [known.global_id])
    (batch,) = claim(engine).batches
    load_verdicts(engine, verify(engine, batch.id), verdicts(["anna@example.com"], status="unknown", score=0))
    now = queue_rows(engine)[0]
    assert (now.bouncer_status, now.bouncer_score) == (clear, 80)
    assert now.bouncer_verified_ts == known.bouncer_verified_ts
    results = rows(engine, "Bouncer_Results")["Bouncer_Results"]
    assert {result["bouncer_status"] for result in results} == {clear, "unknown"}
    assert read(engine, count_second_chances) == 1


def test_a_load_leaves_the_contacts_of_other_batches_alone(engine: Engine) -> None:
    """What an application has written into a contact since its batch was loaded stays when another batch is."""
    queue(engine, ["first@example.com"])
    (first,) = claim(engine).batches
    load_verdicts(engine, verify(engine, first.id), verdicts(["first@example.com"]))
    execute(engine, "UPDATE Contacts_Global SET bouncer_status = 'changed'")
    queue(engine, ["second@example.com"])
    (second,) = claim(engine).batches
    load_verdicts(engine, verify(engine, second.id), verdicts(["second@example.com"]))
    assert [row.bouncer_status for row in queue_rows(engine)] == ["changed", "deliverable"]


@pytest.mark.parametrize(
    ("charged", "processed", "declared"), [(3, 3, 2), (2, 3, 1), (1, 3, 0), (None, 3, 2), (None, 1, 0), (None, None, 2)]
)
def test_an_address_that_was_charged_but_came_back_without_a_verdict_is_not_paid_twice_in_silence(
    engine: Engine, charged: int | None, processed: int | None, declared: int
) -> None:
    """What Bouncer charged, or else verified, beyond the verdicts that came is declared: those are sent again."""
    addresses = _addresses(3)
    queue(engine, [*addresses, addresses[1].upper()])
    (batch,) = claim(engine).batches
    write(engine, transitions.record_verified, upload(engine, batch.id), charged, processed)
    report = load_verdicts(engine, take(engine, batch.id), verdicts(addresses[:1]))
    assert (report.missing, report.maybe_paid) == (3, declared)
    assert read(engine, count_batches).possible_double_payments == declared
    assert read(engine, take_ledger, None).total.maybe_paid_twice == declared


def test_free_verdicts_leave_room_on_the_bill(engine: Engine) -> None:
    """An unknown verdict costs nothing, so what was charged was charged for the address without one."""
    queue(engine, _addresses(2))
    (batch,) = claim(engine).batches
    write(engine, transitions.record_verified, upload(engine, batch.id), 1, 2)
    report = load_verdicts(engine, take(engine, batch.id), verdicts(_addresses(1), status="unknown"))
    assert (report.missing, report.maybe_paid) == (1, 1)


def test_what_a_batch_should_have_cost(engine: Engine) -> None:
    """An address costs one credit, however many have it; unknown ones and Bouncer's test addresses none."""
    paid, unknown, free = "anna@example.com", "ben@example.com", "deliverable@Sandbox.UseBouncer.com"
    queue(engine, [paid, "Anna@example.com", unknown, free])
    (batch,) = claim(engine).batches
    answers = [*verdicts([paid, free]), *verdicts([unknown], status="unknown")]
    assert load_verdicts(engine, verify(engine, batch.id), answers).settled == 4
    assert batch_rows(engine)[0].expected_credits == 1
