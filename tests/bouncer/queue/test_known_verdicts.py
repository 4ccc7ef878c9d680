"""What is known is not paid for again, and what is on its way is waited for, however many contacts wait."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Engine, delete, event, text, update

from bouncer.batches import admission, endings, transitions
from bouncer.batches.load import load
from bouncer.batches.state import BatchWork
from bouncer.queue.claiming import Claimed
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch, Contact, QueueStatus
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.matching import await_verdicts, prepare
from tests.bouncer.contacts import (
    at_once,
    batch_rows,
    claim,
    load_verdicts,
    queue,
    queue_again,
    queue_rows,
    set_back,
    take,
    upload,
    verdicts,
    verify,
)
from tests.bouncer.storage.existing_tables import on_servers, on_sqlite, rows

_INSTRUCTIONS_A_CONTACT = 1_000
_DAY = 86_400


def _know(engine: Engine, address: str, **fields: Any) -> int:
    """Verifies an address and returns its contact."""
    (contact,) = queue(engine, [address])
    (batch,) = claim(engine, fresh_for=FreshFor(days=0)).batches
    load_verdicts(engine, verify(engine, batch.id), verdicts([address], **fields))
    return contact


@pytest.mark.parametrize(
    ("limit", "fresh", "old"),
    [
        (
            90,
            [("deliverable", 89), ("undeliverable", 89), ("risky", 29), ("mailbox_moved", 89)],
            [("deliverable", 91), ("undeliverable", 91), ("risky", 31), ("mailbox_moved", 91), ("unknown", 0)],
        ),
        (7, [("deliverable", 6), ("risky", 6)], [("deliverable", 8), ("risky", 8), ("unknown", 0)]),
        (365, [("deliverable", 364), ("risky", 29)], [("deliverable", 366), ("risky", 31), ("unknown", 0)]),
        (0, [], [("deliverable", 0), ("risky", 0), ("unknown", 0)]),
    ],
)
def test_how_long_verdicts_stay_good(
    engine: Engine, limit: int, fresh: list[tuple[str, int]], old: list[tuple[str, int]]
) -> None:
    """RESULT_MAX_AGE_DAYS is for all, but risky verdicts stay good for 30 days at most, unknown ones never."""
    known = {
        (status, days): _know(engine, f"{status}{days}@example.com", status=status) for status, days in fresh + old
    }
    for (_, days), contact in known.items():
        set_back(engine, Contact.bouncer_verified_ts, days * _DAY, Contact.global_id == contact)
    queue_again(engine, known.values())
    assert claim(engine, fresh_for=FreshFor(days=limit)).contacts == len(known)
    outcomes = {row.global_id: row.status for row in queue_rows(engine)}
    assert {case for case, contact in known.items() if outcomes[contact] == "completed"} == set(fresh)
    assert {case for case, contact in known.items() if outcomes[contact] == "assigned"} == set(old)


def test_another_contact_with_the_address_gets_the_verdict_in_full(engine: Engine) -> None:
    """A second contact with a known address costs nothing, and has all that Bouncer told of the first."""
    domain = {"name": "example.com", "acceptAll": "unknown"}
    _know(engine, "anna@example.com", status="risky", reason="low_quality", domain=domain, score=0, provider="other")
    (twin,) = queue(engine, ["ANNA@Example.COM"])
    assert claim(engine) == Claimed(contacts=1, reused=1)
    first, second = queue_rows(engine)
    assert (second.status, second.reused, second.batch_id) == ("completed", True, first.batch_id)
    assert second.completed_ts is not None
    assert (second.bouncer_status, second.bouncer_reason, second.bouncer_score) == ("risky", "low_quality", 0)
    assert second.bouncer_verified_ts == first.bouncer_verified_ts
    one, other = rows(engine, "Bouncer_Results")["Bouncer_Results"]
    assert other == {**one, "global_id": twin}


def test_the_newest_of_several_verdicts(engine: Engine) -> None:
    """Where two contacts have verdicts on one address, the newer one counts, even that of another contact."""
    first = _know(engine, "anna@example.com", status="deliverable")
    set_back(engine, Contact.bouncer_verified_ts, 10 * _DAY)
    _know(engine, "Anna@example.com", status="undeliverable")
    queue_again(engine, [first])
    assert claim(engine).reused == 1
    assert queue_rows(engine)[-1].bouncer_status == "undeliverable"


def test_a_verdict_whose_batch_is_gone(engine: Engine) -> None:
    """The verdict that is stored with the contact is enough, when the application has deleted the old request."""
    contact = _know(engine, "anna@example.com")
    write(engine, lambda c: c.execute(delete(Batch)))
    queue_again(engine, [contact])
    assert claim(engine).reused == 1
    again = queue_rows(engine)[-1]
    assert (again.status, again.batch_id, again.bouncer_status) == ("completed", None, "deliverable")


def _before_upload(engine: Engine, batch: int) -> None:
    """Leaves the batch as the claim made it."""


@pytest.mark.parametrize("reach", [_before_upload, upload])
def test_contacts_join_a_batch_under_way(engine: Engine, reach: Any) -> None:
    """An address that is in a batch already is not sent again; the contact gets that batch's verdict."""
    queue(engine, ["anna@example.com", "ben@example.com"])
    (batch,) = claim(engine).batches
    reach(engine, batch.id)
    queue(engine, ["ANNA@example.com", "carl@example.com"])
    claimed = claim(engine)
    assert (claimed.joined, [made.quantity for made in claimed.batches]) == (1, [1])
    write(engine, lambda c: c.execute(update(Batch).where(Batch.id == batch.id).values(owner=None)))
    work = upload(engine, batch.id) if reach is _before_upload else take(engine, batch.id)
    write(engine, transitions.record_verified, work, 2)
    report = load_verdicts(engine, work, verdicts(["anna@example.com", "ben@example.com"]))
    assert (report.settled, report.missing) == (3, 0)
    anna = [row for row in queue_rows(engine) if row.email.lower() == "anna@example.com"]
    assert [(row.status, row.bouncer_status, row.batch_id) for row in anna] == [
        ("completed", "deliverable", batch.id)
    ] * 2


def test_contacts_join_a_batch_whose_verdicts_are_being_downloaded(engine: Engine) -> None:
    """Whoever comes late for a batch is in it still, although those who wait for it have been read already."""
    queue(engine, ["anna@example.com"])
    (batch,) = claim(engine).batches
    work = verify(engine, batch.id)
    awaited = read(engine, await_verdicts, work.id)
    queue(engine, ["Anna@example.com"])
    assert claim(engine) == Claimed(contacts=1, joined=1)
    assert write(engine, load, work, prepare(verdicts(["anna@example.com"]), awaited)).settled == 2
    assert {(row.status, row.bouncer_status) for row in queue_rows(engine)} == {("completed", "deliverable")}
    assert len(batch_rows(engine)) == 1


@on_servers
def test_a_contact_whose_twin_is_being_loaded_stops_no_other(engine: Engine) -> None:
    """One contact that comes in the very moment of a load once kept the contacts of all other requests waiting."""
    queue(engine, ["anna@example.com"])
    (batch,) = claim(engine).batches
    work = verify(engine, batch.id)
    queue(engine, ["Anna@example.com"])
    with engine.begin() as loading:
        load(loading, work, prepare(verdicts(["anna@example.com"])))
        queue(engine, ["ben@example.com"])
        claimed = claim(engine)
        assert (claimed.contacts, claimed.joined, len(claimed.batches)) == (1, 0, 1)
        assert claim(engine) == Claimed()
    assert claim(engine) == Claimed(contacts=1, reused=1)


def test_loading_and_joining_at_once(engine: Engine) -> None:
    """A contact whose twin is loaded in the very moment is neither forgotten nor paid for."""
    for number in range(6):
        address = f"anna{number}@example.com"
        queue(engine, [address])
        (batch,) = claim(engine).batches
        work = verify(engine, batch.id)
        queue(engine, [address.upper()])
        calls: list[Callable[[], object]] = [
            partial(load_verdicts, engine, work, verdicts([address])),
            partial(claim, engine),
        ]
        at_once(calls)
        claim(engine)
    assert {row.status for row in queue_rows(engine)} == {"completed"}
    assert len(batch_rows(engine)) == 6


@on_servers
def test_a_load_that_begins_in_the_middle_of_a_join(engine: Engine) -> None:
    """A contact that has been found to have a twin in a batch is in it before that batch can be loaded."""
    queue(engine, ["anna@example.com"])
    (batch,) = claim(engine).batches
    work = upload(engine, batch.id)
    queue(engine, ["ANNA@example.com"])
    loader = Thread(target=_verify_and_load, args=(engine, work))

    def begin_loading(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "join_joining SET" in statement:
            loader.start()
            _until_it_waits_or_is_done(engine, loader)

    event.listen(engine, "before_cursor_execute", begin_loading)
    assert claim(engine).joined == 1
    loader.join()
    assert [(row.status, row.bouncer_status) for row in queue_rows(engine)] == [("completed", "deliverable")] * 2


def _verify_and_load(engine: Engine, work: BatchWork) -> None:
    write(engine, transitions.record_verified, work, 1)
    load_verdicts(engine, work, verdicts(["anna@example.com"]))


def _until_it_waits_or_is_done(engine: Engine, worker: Thread) -> None:
    waits = text("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'")
    with engine.connect() as connection:
        while worker.is_alive() and connection.execute(waits).one()[1] == "0":
            worker.join(0.01)


def _dissolve(engine: Engine, work: BatchWork) -> None:
    write(engine, endings.dissolve, work)


def _lose(engine: Engine, work: BatchWork) -> None:
    # Bouncer can lose only what it had.
    write(engine, admission.admit_upload, work, 15)
    write(engine, transitions.record_upload, work, "abc", 0)
    write(engine, endings.lose, work, "Bouncer lost it")


@pytest.mark.parametrize("undo", [_dissolve, _lose])
def test_a_contact_that_joined_is_not_left_behind(engine: Engine, undo: Any) -> None:
    """When a batch is undone, the contacts that joined it from other requests go back to the queue, too."""
    queue(engine, ["anna@example.com"])
    (batch,) = claim(engine).batches
    queue(engine, ["Anna@example.com"])
    claim(engine)
    undo(engine, take(engine, batch.id))
    assert [(row.status, row.batch_id) for row in queue_rows(engine)] == [("queued", None)] * 2


@on_sqlite
def test_a_second_claim_is_not_slower_by_all_that_is_under_way(engine: Engine) -> None:
    """A second request does not stop everything while a large first one is at Bouncer, as it once did on SQLite."""
    size = 3_000
    queue(engine, (f"first{number}@example.com" for number in range(size)))
    claim(engine)
    queue(engine, (f"second{number}@example.com" for number in range(size)))
    with _at_most(engine, size * _INSTRUCTIONS_A_CONTACT):
        assert claim(engine).contacts == size
    assert {row.status for row in queue_rows(engine)} == {QueueStatus.ASSIGNED}


@contextmanager
def _at_most(engine: Engine, instructions: int) -> Iterator[None]:
    # SQLite counts the instructions of its virtual machine in each statement, whatever else the machine does.
    def limit(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_progress_handler(lambda: 1, instructions)

    engine.dispose()
    event.listen(engine, "connect", limit)
    yield
    event.remove(engine, "connect", limit)
    engine.dispose()
