"""Requeue takes back what failed and nothing else, a chunk at a time, and cancellations only by name."""

import pytest
from sqlalchemy import Engine, event, select, update

from bouncer.batches import admission, endings, ownership, transitions
from bouncer.errors import InputRefused
from bouncer.requests import cancelling, requeueing
from bouncer.requests.counting import Progress, count_contacts, count_dead_letters
from bouncer.requests.requeueing import Requeued, requeue
from bouncer.storage.engine import read, write
from bouncer.storage.tables import DeadLetter, QueuedContact, Request
from tests.bouncer.contacts import (
    batch_rows,
    claim,
    load_verdicts,
    new_request,
    queue,
    queue_again,
    queue_rows,
    sent,
    take,
    verdicts,
    verify,
)


def _fail(engine: Engine, count: int, prefix: str, request: int) -> int:
    # A batch that failed for good, and its dead letter.
    queue(engine, [f"{prefix}{number}@example.com" for number in range(count)], request_id=request)
    (batch,) = claim(engine).batches
    write(engine, endings.fail, take(engine, batch.id), "Bouncer answered 400 to create: malformed")
    return read(engine, lambda c: c.scalars(select(DeadLetter.id).where(DeadLetter.batch_id == batch.id)).one())


def test_failed_contacts_wait_again_and_nothing_else_changes(engine: Engine) -> None:
    """Contacts with a verdict, and those that cannot be mailed to at all, stay; letters are reviewed."""
    request = new_request(engine)
    queue(engine, ["ann@example.com", "no address"], request_id=request)
    (batch,) = claim(engine).batches
    load_verdicts(engine, verify(engine, batch.id), verdicts(sent(engine, batch.id)))
    _fail(engine, 3, "a", request)
    assert requeue(engine, dry_run=True) == Requeued(contacts=3, dead_letters=1, held=0, dry_run=True)
    assert read(engine, count_contacts) == Progress(completed=1, failed=4)
    assert requeue(engine) == Requeued(contacts=3, dead_letters=1, held=0, dry_run=False)
    assert read(engine, count_contacts) == Progress(queued=3, completed=1, failed=1)
    assert read(engine, count_dead_letters) == 0
    assert requeue(engine) == Requeued(contacts=0, dead_letters=0, held=0, dry_run=False)
    assert {row.error_message for row in queue_rows(engine) if row.status == "queued"} == {None}


def test_many_contacts_go_back_in_small_transactions(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many failed, over however many requests, no transaction changes more than a chunk of them."""
    monkeypatch.setattr(requeueing, "_CHUNK_ROWS", 10)
    for number in range(3):
        _fail(engine, 25, f"r{number}.", new_request(engine))
    changed: list[int] = []
    told: list[int] = []

    def note(_connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.replace("`", '"').startswith('UPDATE "Bouncer_Queue"'):
            changed.append(cursor.rowcount)  # type: ignore[attr-defined]  # a cursor's, which SQLAlchemy types loosely

    event.listen(engine, "after_cursor_execute", note)
    assert requeue(engine, progress=told.append).contacts == 75
    assert changed == [10, 10, 5] * 3
    assert told[-1] == 75
    assert read(engine, count_contacts) == Progress(queued=75)


def test_one_dead_letter_or_one_request(engine: Engine) -> None:
    """Named, only a letter's batch goes back, with contacts of others that were in it, or only a request."""
    first, second = new_request(engine), new_request(engine)
    letter = _fail(engine, 2, "a", first)
    _fail(engine, 3, "b", first)
    _fail(engine, 4, "c", second)
    assert requeue(engine, dead_letter=letter, dry_run=True).contacts == 2
    assert requeue(engine, dead_letter=letter) == Requeued(contacts=2, dead_letters=1, held=0, dry_run=False)
    assert read(engine, count_contacts) == Progress(queued=2, failed=7)
    assert requeue(engine, request_id=second) == Requeued(contacts=4, dead_letters=1, held=0, dry_run=False)
    assert read(engine, count_contacts, second) == Progress(queued=4)
    assert read(engine, count_dead_letters) == 1


def test_contacts_of_others_in_a_dead_letters_batch(engine: Engine) -> None:
    """A contact of another request that had joined the batch failed with it, and goes back with it."""
    first, second = new_request(engine), new_request(engine)
    contacts = queue(engine, ["ann@example.com"], request_id=first)
    (batch,) = claim(engine).batches
    queue_again(engine, contacts, request_id=second)
    claim(engine)
    write(engine, endings.fail, take(engine, batch.id), "malformed")
    assert requeue(engine, dead_letter=1).contacts == 2


@pytest.mark.parametrize(("named", "said"), [({"request_id": 9}, "no request 9"), ({"dead_letter": 9}, "letter 9")])
def test_what_is_not_there_is_told(engine: Engine, named: dict[str, int], said: str) -> None:
    """A mistyped id changes nothing and is named."""
    with pytest.raises(InputRefused, match=said):
        requeue(engine, request_id=named.get("request_id"), dead_letter=named.get("dead_letter"))


def test_a_letter_under_another_requests_number_is_not_lost(engine: Engine) -> None:
    """It is refused and nothing changes: the letter stays to be reviewed, and the request that was named cancelled."""
    first, second = new_request(engine), new_request(engine)
    letter = _fail(engine, 2, "a", first)
    write(engine, cancelling.mark, second, by="ann", reason="the wrong list")
    with pytest.raises(InputRefused, match=f"letter {letter} is of request {first}"):
        requeue(engine, request_id=second, dead_letter=letter)
    assert read(engine, count_dead_letters) == 1
    assert read(engine, admission.is_cancelled, second)


def test_a_letter_of_a_cancelled_request_is_not_lost(engine: Engine) -> None:
    """It is refused until the request is named too, which takes the cancellation back."""
    request = new_request(engine)
    letter = _fail(engine, 2, "a", request)
    write(engine, cancelling.mark, request, by="ann", reason="the wrong list")
    with pytest.raises(InputRefused, match=f"is cancelled; to take that back too, add --request {request}"):
        requeue(engine, dead_letter=letter)
    assert read(engine, count_dead_letters) == 1
    assert requeue(engine, request_id=request, dead_letter=letter).contacts == 2
    assert read(engine, count_dead_letters) == 0


def test_a_batch_that_fails_during_a_requeue_keeps_its_letter(engine: Engine) -> None:
    """Its contacts may have been passed already, so its letter is for the next look."""
    requests = [new_request(engine), new_request(engine)]
    _fail(engine, 2, "a", requests[0])
    _fail(engine, 2, "b", requests[1])
    later: list[int] = []

    def one_more_fails(_contacts: int) -> None:
        if not later:
            later.append(_fail(engine, 2, "c", requests[0]))

    assert requeue(engine, progress=one_more_fails).dead_letters == 2
    letters = read(engine, lambda c: c.scalars(select(DeadLetter.id).where(DeadLetter.reviewed.is_not(True))).all())
    assert letters == later


def test_a_cancelled_request_comes_back_by_name_only(engine: Engine) -> None:
    """Requeueing everything leaves cancelled requests alone; by its id, a request is cancelled no more."""
    request = new_request(engine)
    _fail(engine, 2, "f", request)
    queue(engine, ["ann@example.com", "bob@example.com"], request_id=request)
    write(engine, cancelling.mark, request, by="ann", reason="the wrong list")
    write(engine, cancelling.withdraw_waiting, request)
    assert requeue(engine, dry_run=True).contacts == 0
    assert requeue(engine) == Requeued(contacts=0, dead_letters=0, held=0, dry_run=False)
    assert requeue(engine, request_id=request, dry_run=True).contacts == 4
    assert read(engine, admission.is_cancelled, request)
    assert requeue(engine, request_id=request) == Requeued(contacts=4, dead_letters=1, held=0, dry_run=False)
    assert not read(engine, admission.is_cancelled, request)
    assert read(engine, count_contacts) == Progress(queued=4)
    assert read(engine, lambda c: c.scalar(select(Request.bouncer_cancelled))) == 0
    assert claim(engine).contacts == 4


def test_held_batches_are_sent_again_where_asked(engine: Engine) -> None:
    """A held batch waits until somebody asks for it, since it may be paid twice."""
    request = new_request(engine)
    queue(engine, ["ann@example.com"], request_id=request)
    (batch,) = claim(engine).batches
    work = take(engine, batch.id)
    write(engine, admission.admit_upload, work, 15)
    write(engine, transitions.record_lost_upload, work, hold=True)
    write(engine, ownership.release, work)
    assert requeue(engine).held == 0
    assert requeue(engine, held=True, dry_run=True).held == 1
    assert batch_rows(engine)[0].held_ts is not None
    assert requeue(engine, held=True).held == 1
    assert batch_rows(engine)[0].held_ts is None


def test_a_requeue_that_was_killed_is_completed_by_the_next(engine: Engine) -> None:
    """Letters are reviewed last, so that what a crash leaves in the middle is still to be seen."""
    request = new_request(engine)
    _fail(engine, 4, "a", request)
    first = select(QueuedContact.queue_id).order_by(QueuedContact.queue_id).limit(1)
    killed = read(engine, lambda c: c.scalar(first))
    write(
        engine,
        lambda c: c.execute(
            update(QueuedContact).where(QueuedContact.queue_id == killed).values(status="queued", batch_id=None)
        ),
    )
    assert read(engine, count_dead_letters) == 1
    assert requeue(engine) == Requeued(contacts=3, dead_letters=1, held=0, dry_run=False)
