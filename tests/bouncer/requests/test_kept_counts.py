"""Requests at rest are counted once; whatever gives them work, or takes contacts away, has them counted again."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, delete, event, func, insert, select, update

from bouncer.erasure.erasing import erase_person
from bouncer.monitoring.status import count_everything
from bouncer.queue.due_second_chances import take_second_chances
from bouncer.requests import cancelling
from bouncer.requests.counting import Progress, count_contacts, count_verdicts
from bouncer.requests.kept_counts import keep_counts, requests_with_contacts
from bouncer.requests.progress import complete, note_open
from bouncer.requests.requeueing import requeue
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Contact, Layer, QueuedContact, Request, Result, SecondChance
from tests.bouncer.contacts import claim, load_verdicts, new_request, queue, queue_again, set_back, verdicts, verify

_UNCLEAR, _CLEAR = "a@example.com", "b@example.com"


def _at_rest(engine: Engine) -> int:
    """A request with a clear, an unclear and a failed contact, complete and counted."""
    request = new_request(engine)
    queue(engine, [_UNCLEAR, _CLEAR, "invalid"], request_id=request)
    (batch,) = claim(engine, request_id=request).batches
    answers = [*verdicts([_UNCLEAR], status="unknown"), *verdicts([_CLEAR])]
    load_verdicts(engine, verify(engine, batch.id), answers)
    assert write(engine, complete, request, read(engine, count_contacts, request)) is not None
    assert keep_counts(engine) == 1
    return request


def _counts(engine: Engine, request: int) -> str | None:
    return read(engine, lambda c: c.scalar(select(Request.bouncer_counts).where(Request.request_id == request)))


def test_kept_counts_are_those_of_the_rows(engine: Engine) -> None:
    """Of all, of a request and of each pass, the figures are the same before and after they are kept."""
    _at_rest(engine)
    other = new_request(engine)
    queue(engine, ["c@example.com"], request_id=other)
    write(engine, lambda c: c.execute(update(Request).values(bouncer_counts=None)))
    asked: list[tuple[int | None, Layer | None]] = [(None, None), (other, None), (None, Layer.BASIC), (1, Layer.DEEP)]

    def figures() -> list[Any]:
        return [read(engine, count, *of) for of in asked for count in (count_contacts, count_verdicts)]

    counted = figures()
    assert counted[0] == Progress(queued=1, completed=2, failed=1)
    assert keep_counts(engine) == 1
    assert figures() == counted


def test_requests_at_rest_are_not_read_again(engine: Engine) -> None:
    """The figures of a request at rest outlive its rows in detail, as housekeeping deletes them."""
    request = _at_rest(engine)
    write(engine, lambda c: c.execute(delete(Result)))
    assert read(engine, count_verdicts) == read(engine, count_verdicts, request) == {"unknown": 1, "deliverable": 1}
    assert keep_counts(engine) == 0


def _take_second_chance(engine: Engine, _request: int) -> None:
    set_back(engine, SecondChance.try_again_ts, 0)
    assert write(engine, take_second_chances, 10) == (1, 1)
    (batch,) = claim(engine).batches
    load_verdicts(engine, verify(engine, batch.id), verdicts([_UNCLEAR]))


def _requeue(engine: Engine, request: int) -> None:
    write(engine, lambda c: c.execute(update(QueuedContact).values(attempts=1)))
    assert requeue(engine, request_id=request).contacts == 1


def _queue_more(engine: Engine, request: int) -> None:
    queue(engine, ["c@example.com"], request_id=request)
    claim(engine)


def _cancel(engine: Engine, request: int) -> None:
    write(engine, cancelling.mark, request, by="me", reason="why not")


def _erase(engine: Engine, _request: int) -> None:
    erase_person(engine, _CLEAR, exports=[])


@pytest.mark.parametrize("change", [_take_second_chance, _requeue, _queue_more, _cancel, _erase])
def test_whatever_changes_a_request_has_it_counted_again(engine: Engine, change: Callable[[Engine, int], None]) -> None:
    """A second chance, a requeue, more contacts, a cancellation and an erasure leave no old figure."""
    request = _at_rest(engine)
    change(engine, request)
    assert _counts(engine, request) is None
    query = select(QueuedContact.status, func.count()).group_by(QueuedContact.status)
    by_status = read(engine, lambda c: {str(status): count for status, count in c.execute(query)})
    total = read(engine, count_contacts)
    assert (total.queued, total.assigned, total.completed, total.failed) == tuple(
        by_status.get(status, 0) for status in ("queued", "assigned", "completed", "failed")
    )


def test_contacts_that_an_application_queues_count_at_once(engine: Engine) -> None:
    """Nobody says that an application has queued more in a request at rest; its contacts count all the same."""
    request = _at_rest(engine)
    (contact,) = read(engine, lambda c: c.scalars(select(Contact.global_id).where(Contact.email == _CLEAR)).all())
    queue_again(engine, [contact], request_id=request)
    assert read(engine, count_contacts) == Progress(queued=1, completed=2, failed=1)


def test_what_changes_while_a_request_is_counted_is_not_lost(engine: Engine) -> None:
    """A request that is opened while somebody counts it gets no counts of the time before."""
    request = _at_rest(engine)
    write(engine, lambda c: c.execute(update(Request).values(bouncer_counts=None)))

    opened = list[int]()

    def open_it(_connection: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        if "count(*)" in statement and not opened:
            opened.append(request)
            write(engine, note_open, request)

    event.listen(engine, "after_cursor_execute", open_it)
    assert keep_counts(engine) == 0
    assert opened == [request]
    assert _counts(engine, request) is None


def test_a_mark_that_was_left_behind_is_no_count(engine: Engine) -> None:
    """Somebody who was killed while counting keeps nobody else from it."""
    request = _at_rest(engine)
    write(engine, lambda c: c.execute(update(Request).values(bouncer_counts="0123456789abcdef")))
    assert read(engine, count_contacts) == Progress(completed=2, failed=1)
    assert keep_counts(engine) == 1
    assert (_counts(engine, request) or "").startswith("{")


def test_requests_with_contacts_are_found(engine: Engine) -> None:
    """Requests with contacts are found, whatever became of these; others have nothing to look at."""
    first = _at_rest(engine)
    new_request(engine)
    third = new_request(engine)
    queue(engine, ["c@example.com"], request_id=third)
    assert read(engine, requests_with_contacts) == [first, third]


def test_only_so_many_are_counted_as_are_wanted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that has other things to do counts a few requests, and the next one goes on."""
    monkeypatch.setattr("bouncer.requests.kept_counts._REQUESTS_A_TURN", 1)
    requests = [_at_rest(engine), new_request(engine)]
    contact = read(engine, lambda c: c.scalar(select(func.min(Contact.global_id))))
    row = {"global_id": contact, "user_id": 1, "request_id": requests[1], "status": "failed"}
    write(engine, lambda c: c.execute(insert(QueuedContact).values(row)))
    write(engine, lambda c: c.execute(update(Request).values(bouncer_counts=None)))
    assert [keep_counts(engine, 1) for _ in range(3)] == [1, 1, 0]


def test_a_screen_without_open_requests(engine: Engine) -> None:
    """The screen lists no request at rest, and has the totals."""
    _at_rest(engine)
    counts = read(engine, count_everything)
    assert (counts.requests, counts.more_requests, counts.waiting) == ([], 0, [])
    assert counts.contacts == Progress(completed=2, failed=1)
    assert counts.verdicts == {"unknown": 1, "deliverable": 1}
