"""Contacts leave a batch without a verdict in order: back to the queue, or failed with a reason, and none is lost."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from sqlalchemy import Engine, delete, event, select, update

from bouncer.batches import admission, endings, ownership, transitions
from bouncer.batches.endings import DOUBTFUL_REFUSALS, LONE_REFUSALS_TO_GIVE_UP, MOST_ATTEMPTS
from bouncer.batches.state import BatchWork
from bouncer.batches.unsettled import ownerless
from bouncer.costs.ledger import take_ledger
from bouncer.errors import OwnershipLost
from bouncer.requests.counting import count_batches, count_dead_letters
from bouncer.storage.engine import engine_for, read, write
from bouncer.storage.tables import Batch, Contact, QueuedContact, Request
from tests.bouncer.contacts import (
    ACCOUNT,
    at_once,
    batch_rows,
    claim,
    load_verdicts,
    new_request,
    queue,
    queue_rows,
    sent,
    set_back,
    take,
    upload,
    verdicts,
    verify,
)
from tests.bouncer.storage.existing_tables import on_servers, rows

_REFUSAL = "Bouncer answered 400 to create: anna@example.com is malformed😀\nsecond line"


def _claimed(engine: Engine, count: int = 3) -> BatchWork:
    queue(engine, (f"a{number}@example{number % 3}.com" for number in range(count)))
    (batch,) = claim(engine).batches
    return take(engine, batch.id)


def test_dissolved_batches_cost_their_contacts_nothing(engine: Engine) -> None:
    """When the account cannot pay, contacts are queued as before, with no attempt counted and no batch left."""
    before = [(row.queue_id, row.status, row.attempts, row.batch_id) for row in queue_rows(engine)]
    work = _claimed(engine)
    assert write(engine, endings.dissolve, work) == 3
    after = [(row.status, row.attempts, row.batch_id, row.assigned_ts) for row in queue_rows(engine)]
    assert (before, after) == ([], [("queued", 0, None, None)] * 3)
    assert batch_rows(engine) == []
    assert claim(engine).contacts == 3


def test_a_dissolved_batch_still_tells_of_its_lost_upload(engine: Engine) -> None:
    """A possible double payment stays on record, also one that this very run has met."""
    work = _claimed(engine)
    write(engine, admission.admit_upload, work, 15)
    write(engine, transitions.record_lost_upload, work, hold=False)
    assert write(engine, endings.dissolve, work) == 3
    (batch,) = batch_rows(engine)
    assert (batch.status, batch.owner, batch.slot_lease) == ("failed", None, None)
    assert read(engine, count_batches).possible_double_payments == 3


def test_lost_batches_are_sent_again_a_few_times(engine: Engine) -> None:
    """Contacts of a batch that Bouncer lost are requeued, and fail with the reason the third time."""
    queue(engine, ["anna@example.com"])
    for attempt in range(1, MOST_ATTEMPTS + 1):
        (batch,) = claim(engine).batches
        assert write(engine, endings.lose, upload(engine, batch.id), "Bouncer answered 404 to status") == 1
        (contact,) = queue_rows(engine)
        assert contact.attempts == attempt
        assert contact.status == ("queued" if attempt < MOST_ATTEMPTS else "failed")
    assert contact.error_message == "Bouncer answered 404 to status"
    assert [row.status for row in batch_rows(engine)] == ["failed"] * MOST_ATTEMPTS
    assert len(rows(engine, "Bouncer_Batches")["Bouncer_Batches"]) == MOST_ATTEMPTS


@pytest.mark.parametrize(
    ("processed", "stuck", "charged", "declared"), [(0, False, None, 3), (1, True, None, 1), (3, False, 2, 2)]
)
def test_what_a_lost_batch_may_have_cost_is_declared(
    engine: Engine, processed: int, stuck: bool, charged: int | None, declared: int
) -> None:
    """Its contacts are paid for again: all where nobody knows how far it was, else what was verified or charged.

    One that a cancellation had asked to finish, and that Bouncer lost a moment later, declared too little.
    """
    queue(engine, (f"a{number}@example.com" for number in range(3)))
    (batch,) = claim(engine).batches
    work = upload(engine, batch.id)
    write(engine, transitions.record_progress, work, processed)
    write(engine, ownership.record_finish_requested, work)
    if charged is not None:
        write(engine, transitions.record_verified, work, charged)
    write(engine, endings.lose, work, "results have been removed", stuck=stuck)
    assert read(engine, count_batches).possible_double_payments == declared
    assert read(engine, take_ledger, None).total.maybe_paid_twice == declared


def test_failed_batches_leave_a_dead_letter(engine: Engine) -> None:
    """A batch that fails for good leaves a letter for a person, and with each contact the reason, without addresses."""
    work = _claimed(engine)
    assert write(engine, endings.fail, work, _REFUSAL) == 3
    reason = "Bouncer answered 400 to create: [address] is malformed second line"
    assert {(row.status, row.attempts, row.error_message) for row in queue_rows(engine)} == {("failed", 1, reason)}
    (letter,) = rows(engine, "Bouncer_Dead_Letter_Queue")["Bouncer_Dead_Letter_Queue"]
    assert (letter["batch_id"], letter["request_id"], letter["error_message"]) == (work.id, work.request_id, reason)
    assert batch_rows(engine)[0].error_message == reason
    assert read(engine, count_dead_letters) == 1


def _dissolve(engine: Engine, work: BatchWork) -> object:
    return write(engine, endings.dissolve, work)


def _lose(engine: Engine, work: BatchWork) -> object:
    return write(engine, endings.lose, work, "lost")


def _fail(engine: Engine, work: BatchWork) -> object:
    return write(engine, endings.fail, work, "failed")


def _split(engine: Engine, work: BatchWork) -> object:
    return write(engine, endings.split, work)


@pytest.mark.parametrize("settle", [_dissolve, _lose, _fail, _split])
def test_a_run_that_lost_its_batch_settles_nothing(
    engine: Engine, settle: Callable[[Engine, BatchWork], object]
) -> None:
    """A worker that was believed dead cannot undo what its successor does; nor can it where the batch is gone."""
    work = _claimed(engine)
    set_back(engine, Batch.heartbeat_ts, 60)
    take(engine, work.id, "successor")
    with pytest.raises(OwnershipLost):
        settle(engine, work)
    assert {(row.status, row.batch_id) for row in queue_rows(engine)} == {("assigned", work.id)}
    write(engine, lambda c: c.execute(delete(Request)))
    with pytest.raises(OwnershipLost):
        settle(engine, work)


@pytest.mark.parametrize("settle", [_dissolve, _fail, _split])
def test_a_batch_that_an_earlier_run_has_uploaded_after_all_is_not_thrown_away(
    engine: Engine, settle: Callable[[Engine, BatchWork], object]
) -> None:
    """It is paid for: its contacts wait for its verdicts, whatever became of the upload of the run that has it now."""
    earlier = _claimed(engine)
    set_back(engine, Batch.heartbeat_ts, 60)
    successor = take(engine, earlier.id, "successor")
    write(engine, transitions.record_upload, earlier, "bouncer-1", 0)
    with suppress(OwnershipLost):
        settle(engine, successor)
    (batch,) = batch_rows(engine)
    assert (batch.status, batch.batch_id) == ("processing", "bouncer-1")
    assert {(row.status, row.batch_id) for row in queue_rows(engine)} == {("assigned", batch.id)}
    assert read(engine, count_dead_letters) == 0


_FEW = [(12, {7}), (12, {0, 3, 10})]
_MANY = [(64, set(range(24)))]


@pytest.mark.parametrize(("contacts", "culprits"), [*_FEW, *_MANY])
def test_in_the_end_only_the_culprits_fail(engine: Engine, contacts: int, culprits: set[int]) -> None:
    """A batch that Bouncer refuses for single addresses is halved until these are alone; all others are verified."""
    _claimed(engine, contacts)
    bad = {f"a{number}@example{number % 3}.com" for number in culprits}
    _send_to_a_strict_bouncer(engine, lambda addresses: not bad & set(addresses))
    for row in queue_rows(engine):
        outcome = ("failed", None) if row.email in bad else ("completed", "deliverable")
        assert (row.status, row.bouncer_status) == outcome
    assert read(engine, count_dead_letters) == len(bad)
    root, *parts = batch_rows(engine)
    assert {part.split_from for part in parts} == {root.id}
    assert {part.request_id for part in parts} == {root.request_id}


def test_when_bouncer_refuses_everything_it_is_not_asked_for_ever(engine: Engine) -> None:
    """Where every part is refused, the batch fails after a few dozen uploads, not after one for each address."""
    _claimed(engine, 200)
    uploads = _send_to_a_strict_bouncer(engine, lambda _: False)
    assert DOUBTFUL_REFUSALS + LONE_REFUSALS_TO_GIVE_UP < uploads < 6 * DOUBTFUL_REFUSALS
    assert {row.status for row in queue_rows(engine)} == {"failed"}
    assert {row.status for row in batch_rows(engine)} == {"failed"}


def test_when_most_addresses_are_refused_not_each_of_them_is_sent_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Halving ends after so many refusals; what was taken until then is verified, and the rest fails as it is."""
    monkeypatch.setattr(endings, "REFUSALS_TO_GIVE_UP", 24)
    _claimed(engine, 60)
    bad = {f"a{number}@example{number % 3}.com" for number in range(60) if number % 3}
    uploads = _send_to_a_strict_bouncer(engine, lambda addresses: not bad & set(addresses))
    assert 24 < uploads < 100
    outcomes = {(row.status, row.email in bad) for row in queue_rows(engine)}
    assert outcomes == {("failed", True), ("failed", False), ("completed", False)}


def _send_to_a_strict_bouncer(engine: Engine, takes: Callable[[list[str]], bool]) -> int:
    """Works all batches off as the flow does, oldest first, and returns how many uploads that took."""
    uploads = 0
    write(engine, lambda c: c.execute(update(Batch).values(owner=None)))
    while waiting := read(engine, ownerless, ACCOUNT):
        addresses = sent(engine, waiting[0].id)
        assert len(addresses) == waiting[0].quantity
        uploads += 1
        if takes(addresses):
            load_verdicts(engine, verify(engine, waiting[0].id), verdicts(addresses))
        else:
            work = take(engine, waiting[0].id)
            if not write(engine, endings.split, work):
                write(engine, endings.fail, work, "Bouncer answered 400 to create: malformed body")
    return uploads


def test_equal_addresses_stay_together(engine: Engine) -> None:
    """Contacts with one address are in one half, so that halving pays for nobody twice."""
    queue(engine, [f"{'aA'[number % 2]}{number // 2}@example.com" for number in range(20)])
    (batch,) = claim(engine).batches
    halves = write(engine, endings.split, take(engine, batch.id))
    assert sum(row.quantity for row in batch_rows(engine) if row.id in halves) == 10
    places = {(row.email.lower(), row.batch_id) for row in queue_rows(engine)}
    assert len(places) == 10
    assert {half for _, half in places} == set(halves)


def test_an_address_that_an_application_has_changed_is_not_refused_for_ever(engine: Engine) -> None:
    """Two contacts had one address and have two by now: they are halved, and only the refused one fails."""
    queue(engine, ["anna@example.com", "ANNA@example.com"])
    (batch,) = claim(engine).batches
    _change(engine, queue_rows(engine)[1].queue_id, "ben@example.com")
    take(engine, batch.id)
    write(engine, lambda c: c.execute(update(Batch).values(quantity=2)))
    assert _send_to_a_strict_bouncer(engine, lambda addresses: "ben@example.com" not in addresses) == 3
    assert [(row.email, row.status) for row in queue_rows(engine)] == [
        ("anna@example.com", "completed"),
        ("ben@example.com", "failed"),
    ]


def test_what_is_no_address_any_more_does_not_fail_for_those_that_were_refused_with_it(engine: Engine) -> None:
    """It waits in the queue again, and the next claim fails it with its own reason."""
    work = _claimed(engine, 2)
    _change(engine, queue_rows(engine)[0].queue_id, "nobody")
    (part,) = write(engine, endings.split, work)
    assert [(row.email, row.status, row.batch_id) for row in queue_rows(engine)] == [
        ("nobody", "queued", None),
        ("a1@example1.com", "assigned", part),
    ]
    assert claim(engine).invalid == 1
    assert [row.status for row in queue_rows(engine)] == ["failed", "assigned"]


def _change(engine: Engine, queue_id: int, to: str) -> None:
    its = select(QueuedContact.global_id).where(QueuedContact.queue_id == queue_id).scalar_subquery()
    write(engine, lambda c: c.execute(update(Contact).where(Contact.global_id == its).values(email=to)))


def test_an_address_that_was_refused_alone_cannot_be_halved(engine: Engine) -> None:
    """Nothing is changed where halving makes no sense."""
    work = _claimed(engine, 1)
    assert write(engine, endings.split, work) == []
    assert [row.status for row in queue_rows(engine)] == ["assigned"]
    assert batch_rows(engine)[0].status == "queued"


def test_an_address_does_not_fail_for_those_that_were_deleted_after_they_were_refused_with_it(engine: Engine) -> None:
    """An application deletes the culprit just then: what is left was never refused alone, and is sent once more."""
    work = _claimed(engine, 3)
    first, *others = queue_rows(engine)
    gone = [row.queue_id for row in others]
    write(engine, lambda c: c.execute(delete(QueuedContact).where(QueuedContact.queue_id.in_(gone))))
    (part,) = write(engine, endings.split, work)
    assert [(row.queue_id, row.status, row.batch_id) for row in queue_rows(engine)] == [
        (first.queue_id, "assigned", part)
    ]
    refused, again = batch_rows(engine)
    assert (refused.status, again.status, again.quantity) == ("failed", "queued", 1)
    assert refused.error_message == f"refused by Bouncer as a whole; parted into batch {part}"
    assert write(engine, endings.split, take(engine, part)) == []


def test_contacts_whose_batch_went_with_another_request(engine: Engine) -> None:
    """A contact that joined another request's batch is requeued when that request is deleted with its batch."""
    queue(engine, ["anna@example.com"], request_id=(first := new_request(engine)))
    (batch,) = claim(engine).batches
    queue(engine, ["ANNA@example.com", "ben@example.com"])
    claim(engine)
    write(engine, lambda c: c.execute(delete(Request).where(Request.request_id == first)))
    anna, ben = queue_rows(engine)
    # MySQL 9.7 does not always reach the third table of a cascade, so the number of the batch may still stand there.
    assert (anna.status, ben.status) == ("assigned", "assigned")
    assert anna.batch_id in {None, batch.id}
    assert write(engine, endings.requeue_orphans) == 1
    assert [(row.status, row.batch_id) for row in queue_rows(engine)] == [("queued", None), ("assigned", ben.batch_id)]
    assert batch.id != ben.batch_id


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_contacts_that_an_earlier_program_left_in_an_ended_batch(engine: Engine, status: str) -> None:
    """Rows that are assigned to a batch which is over, as a crash of the plan's own code leaves them, are not stuck."""
    _claimed(engine)
    write(engine, lambda c: c.execute(update(Batch).values(status=status, owner=None)))
    assert write(engine, endings.requeue_orphans) == 3
    assert write(engine, endings.requeue_orphans) == 0
    assert claim(engine).contacts == 3


@on_servers
def test_an_orphan_that_another_worker_takes_back_in_the_same_moment(engine: Engine) -> None:
    """A contact that is requeued and claimed between being found and being changed stays in its new batch."""
    work = _claimed(engine)
    write(engine, lambda c: c.execute(delete(Batch)))
    other = engine_for(engine.url.render_as_string(hide_password=False))

    def take_back(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE `Bouncer_Queue`") and not batch_rows(other):
            write(other, endings.requeue_orphans)
            claim(other)

    event.listen(engine, "before_cursor_execute", take_back)
    assert write(engine, endings.requeue_orphans) == 0
    other.dispose()
    (batch,) = batch_rows(engine)
    assert {(row.status, row.batch_id) for row in queue_rows(engine)} == {("assigned", batch.id)}
    assert batch.id != work.id


def test_orphans_are_looked_for_while_others_claim(engine: Engine) -> None:
    """Contacts that are just being claimed, halved or loaded elsewhere are never taken for orphans."""
    queue(engine, (f"a{number}@example.com" for number in range(60)))

    def work_off() -> int:
        settled = 0
        while made := claim(engine, batches=1, batch_size=10).batches:
            for half in write(engine, endings.split, take(engine, made[0].id)):
                settled += load_verdicts(engine, verify(engine, half), verdicts(sent(engine, half))).settled
        return settled

    def look_for_orphans() -> int:
        return sum(write(engine, endings.requeue_orphans) for _ in range(20))

    first, second, orphans = at_once([work_off, work_off, look_for_orphans])
    assert (first + second, orphans) == (60, 0)


def test_a_batch_that_bouncer_has_is_not_dissolved(engine: Engine) -> None:
    """A run that cannot pay for a batch which its predecessor has uploaded meanwhile throws nothing paid away."""
    work = upload(engine, _claimed(engine).id)
    assert write(engine, endings.dissolve, work) == 0
    assert [row.batch_id for row in batch_rows(engine)] == [work.bouncer_id]
    assert {row.status for row in queue_rows(engine)} == {"assigned"}
