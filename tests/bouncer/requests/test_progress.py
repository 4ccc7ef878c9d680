"""Requests know how far they have come, and are complete once, whoever looks and however often."""

from typing import Any

from sqlalchemy import Connection, Engine, delete, event, select, text

from bouncer.requests import progress as request_progress
from bouncer.requests.counting import count_contacts
from bouncer.requests.progress import Completion
from bouncer.storage.dialects import is_sqlite
from bouncer.storage.engine import read, write
from bouncer.storage.tables import QueuedContact, Request
from tests.bouncer.contacts import (
    at_once,
    claim,
    load_verdicts,
    new_request,
    new_user,
    queue,
    queue_again,
    sent,
    set_back,
    verdicts,
    verify,
)
from tests.bouncer.storage.existing_tables import execute, on_servers


def _figures(engine: Engine, request: int) -> tuple[int | None, ...]:
    columns = (Request.bouncer_queued, Request.bouncer_in_flight, Request.bouncer_done, Request.bouncer_failed)
    return tuple(read(engine, lambda c: c.execute(select(*columns).where(Request.request_id == request)).one()))


def _follow(engine: Engine) -> list[Completion]:
    # As tasks/requests/completion.py does, without the event.
    ended = []
    for request in read(engine, request_progress.under_way):
        if (request.is_open and not request.is_due) or not write(engine, request_progress.claim_count, request):
            continue
        counted = read(engine, count_contacts, request.request_id)
        if counted.open:
            write(engine, request_progress.record_count, request.request_id, counted)
        elif completion := write(engine, request_progress.complete, request.request_id, counted):
            ended.append(completion)
    return ended


def _verify_all(engine: Engine) -> None:
    for batch in claim(engine).batches:
        load_verdicts(engine, verify(engine, batch.id), verdicts(sent(engine, batch.id)))


def test_a_request_is_counted_while_it_is_under_way(engine: Engine) -> None:
    """From the first claim on, the request's row tells what waits, what is in flight, what is done and what failed."""
    request = new_request(engine)
    queue(engine, (f"a{number}@example.com" for number in range(6)), request_id=request)
    assert read(engine, request_progress.under_way) == []
    assert _figures(engine, request) == (None,) * 4
    claim(engine, batches=1, batch_size=3)
    assert _follow(engine) == []
    assert _figures(engine, request) == (3, 3, 0, 0)
    queue(engine, ["no address"], request_id=request)
    _verify_all(engine)
    set_back(engine, Request.bouncer_counted_ts, 11)
    _follow(engine)
    assert _figures(engine, request) == (0, 3, 3, 1)


def test_a_count_that_comes_after_the_end_changes_no_figures(engine: Engine) -> None:
    """Two workers: one counted before the last batch was stored, and wrote its figures after the other saw the end."""
    request = new_request(engine)
    queue(engine, ["ann@example.com", "ben@example.com"], request_id=request)
    (batch,) = claim(engine, batch_size=2).batches
    counted = read(engine, count_contacts, request)
    load_verdicts(engine, verify(engine, batch.id), verdicts(sent(engine, batch.id)))
    assert [ended.request_id for ended in _follow(engine)] == [request]
    write(engine, request_progress.record_count, request, counted)
    assert _figures(engine, request) == (0, 0, 2, 0)


def test_a_large_request_is_counted_seldom(engine: Engine) -> None:
    """A request of ten million contacts is not counted again before some minutes have passed; a small one is."""
    request = new_request(engine)
    queue(engine, ["ann@example.com"], request_id=request)
    claim(engine)
    _follow(engine)
    for done, seconds, is_due in ((0, 5, False), (0, 11, True), (10_000_000, 150, False), (10_000_000, 210, True)):
        execute(engine, f"UPDATE Requests SET bouncer_done = {done}")
        set_back(engine, Request.bouncer_counted_ts, seconds)
        assert [found.is_due for found in read(engine, request_progress.under_way)] == [is_due]


def test_a_request_is_complete_once(engine: Engine) -> None:
    """Of several who see that nothing waits any more, one takes the request to its end, with the right figures."""
    request = new_request(engine)
    queue(engine, ["ann@example.com", "bob@example.com", "no address"], request_id=request)
    _verify_all(engine)
    ended = [completion for found in at_once([lambda: _follow(engine)] * 4) for completion in found]
    assert [(end.request_id, end.done, end.failed, end.cancelled) for end in ended] == [(request, 2, 1, 0)]
    assert _figures(engine, request) == (0, 0, 2, 1)
    write(engine, request_progress.record_announced, ended[0])
    assert read(engine, request_progress.under_way) == []


def test_a_request_that_gets_more_contacts_is_complete_again_later(engine: Engine) -> None:
    """Contacts that are queued for a complete request open it, and it is complete a second time."""
    request = new_request(engine)
    queue(engine, ["ann@example.com"], request_id=request)
    _verify_all(engine)
    (first,) = _follow(engine)
    write(engine, request_progress.record_announced, first)
    queue(engine, ["bob@example.com"], request_id=request)
    claimed = claim(engine)
    assert [found.is_open for found in read(engine, request_progress.under_way)] == [True]
    # Whoever is late with the first completion does not announce the second.
    write(engine, request_progress.record_announced, first)
    assert len(read(engine, request_progress.under_way)) == 1
    for batch in claimed.batches:
        load_verdicts(engine, verify(engine, batch.id), verdicts(sent(engine, batch.id)))
    (second,) = _follow(engine)
    assert (second.request_id, second.done) == (request, 2)


def test_a_completion_that_nobody_announced_is_found(engine: Engine) -> None:
    """Where a process dies between completing a request and saying so, another says it a little later."""
    request = new_request(engine)
    queue(engine, ["ann@example.com"], request_id=request)
    _verify_all(engine)
    _follow(engine)
    assert [found.is_unannounced for found in read(engine, request_progress.under_way)] == [False]
    set_back(engine, Request.bouncer_completed_ts, 11)
    assert [found.is_unannounced for found in read(engine, request_progress.under_way)] == [True]
    completion = read(engine, request_progress.completion_of, request)
    assert completion is not None
    assert completion.done == 1


def test_requests_whose_contacts_only_join_or_reuse_are_complete_too(engine: Engine) -> None:
    """A request that never has a batch of its own is complete when its contacts have the others' verdicts."""
    user = new_user(engine)
    first, second, third = (new_request(engine, user) for _ in range(3))
    contacts = queue(engine, ["ann@example.com"], request_id=first)
    queue_again(engine, contacts, request_id=second)
    made = [batch for _ in range(2) for batch in claim(engine).batches]
    assert len(made) == 1
    assert {found.is_open for found in read(engine, request_progress.under_way)} == {True}
    load_verdicts(engine, verify(engine, made[0].id), verdicts(sent(engine, made[0].id)))
    queue_again(engine, contacts, request_id=third)
    assert claim(engine).reused == 1
    assert {end.request_id for end in _follow(engine)} == {first, second, third}


def test_a_request_whose_contacts_were_deleted_is_complete(engine: Engine) -> None:
    """An application that deletes what waits does not leave a request open for ever."""
    request = new_request(engine)
    queue(engine, ["ann@example.com"], request_id=request)
    claim(engine)
    write(engine, lambda c: c.execute(delete(QueuedContact)))
    (end,) = _follow(engine)
    assert (end.request_id, end.done, end.failed) == (request, 0, 0)


@on_servers
def test_following_requests_reads_no_table_whole(engine: Engine) -> None:
    """With 20,000 contacts that wait, to look which requests are complete reads a few rows each."""
    user = new_user(engine)
    for number in range(10):
        request = new_request(engine, user)
        queue(engine, (f"a{number}.{contact}@example.com" for contact in range(2000)), request_id=request)
    for _ in range(10):
        claim(engine, batches=10, batch_size=10)
    execute(engine, "ANALYZE TABLE Bouncer_Queue", "ANALYZE TABLE Requests")
    assert read(engine, _rows_read_to_look) < 200


def _rows_read_to_look(connection: Connection) -> int:
    def rows_read() -> int:
        return sum(int(value) for _, value in connection.execute(text("SHOW SESSION STATUS LIKE 'Handler_read%'")))

    before = rows_read()
    assert {found.is_open for found in request_progress.under_way(connection)} == {True}
    assert request_progress.any_open(connection)
    return rows_read() - before


def test_a_claim_notes_an_open_request_with_one_look(engine: Engine) -> None:
    """Once a request is under way, a claim only reads its row, by the primary key, and changes nothing of it."""
    request = new_request(engine)
    queue(engine, (f"a{number}@example.com" for number in range(20)), request_id=request)
    claim(engine, batches=1, batch_size=5)
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "bouncer_counted_ts" in statement:
            seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    claim(engine, batches=1, batch_size=5)
    assert len(seen) == 1
    assert seen[0].startswith("SELECT")
    assert is_sqlite(engine) or "FOR UPDATE" not in seen[0]
