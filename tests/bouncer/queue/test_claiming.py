"""Contacts leave the queue in a fair order, none twice, and in batches that have the domain mix of the whole."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pymysql
import pytest
from sqlalchemy import Engine, make_url, update
from sqlalchemy.exc import DBAPIError

from bouncer.batches.unsettled import unsettled
from bouncer.queue.claiming import Claimed
from bouncer.storage.engine import read, write
from bouncer.storage.migrate import upgrade
from bouncer.storage.tables import Contact, Priority
from tests.bouncer.contacts import (
    at_once,
    batch_rows,
    claim,
    load_verdicts,
    new_request,
    new_user,
    queue,
    queue_again,
    queue_rows,
    refusing_update,
    sent,
    verdicts,
    verify,
)
from tests.bouncer.storage.existing_tables import execute, on_servers, on_sqlite, rows
from tests.bouncer.storage.migrations.plan_ddl import APPLICATION

_CLAIM_ALL = """
import sys
from bouncer.queue.claiming import claim
from bouncer.storage.engine import engine_for, write
from bouncer.verdicts.freshness import FreshFor
engine = engine_for(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
while write(engine, claim, "default", batches=1, batch_size=7, fresh_for=FreshFor()).contacts:
    pass
"""


def _addresses(count: int, prefix: str = "a") -> list[str]:
    return [f"{prefix}{number}@example{number % 7}.com" for number in range(count)]


def test_nothing_waits(engine: Engine) -> None:
    """An empty queue, or no room for batches, claims nothing and is no error."""
    assert claim(engine) == Claimed()
    queue(engine, _addresses(3))
    assert claim(engine, batches=0) == Claimed()
    assert [row.status for row in queue_rows(engine)] == ["queued"] * 3


def test_most_urgent_first(engine: Engine) -> None:
    """A contact that was queued last goes first if it is more urgent."""
    requests = {
        priority: new_request(engine) for priority in (Priority.LOW, Priority.NORMAL, Priority.CRITICAL, Priority.HIGH)
    }
    for priority, request in requests.items():
        queue(engine, _addresses(3, priority.name), request_id=request, priority=priority)
    order = [claim(engine).batches[0] for _ in requests]
    assert [batch.priority for batch in order] == [100, 75, 50, 25]
    assert [batch.request_id for batch in order] == [requests[Priority(batch.priority)] for batch in order]


def test_one_big_list_does_not_starve_the_small_ones(engine: Engine) -> None:
    """Of two requests that wait, each gets its share of the free places, and turns alternate."""
    big, small = new_request(engine), new_request(engine)
    queue(engine, _addresses(300, "big"), request_id=big)
    queue(engine, _addresses(40, "small"), request_id=small)
    claims = [claim(engine, batches=4, batch_size=10).batches for _ in range(5)]
    assert [(batches[0].request_id, len(batches)) for batches in claims] == [
        (big, 2),
        (small, 2),
        (big, 2),
        (small, 2),
        (big, 4),
    ]


def test_many_requests_of_one_user_do_not_starve_another(engine: Engine) -> None:
    """The user with the fewest batches under way is next, however many requests others have."""
    busy, modest = new_user(engine), new_user(engine)
    for number in range(5):
        queue(engine, _addresses(4, f"busy{number}"), request_id=new_request(engine, busy))
    last = new_request(engine, modest)
    queue(engine, _addresses(4, "modest"), request_id=last)
    turns = [claim(engine, batches=1, batch_size=2).batches[0].request_id for _ in range(4)]
    assert turns.count(last) == 2
    assert len(set(turns)) == 3


def test_only_one_request(engine: Engine) -> None:
    """A claim for one request leaves the others alone, even the more urgent ones."""
    mine, other = new_request(engine), new_request(engine)
    queue(engine, _addresses(5, "mine"), request_id=mine)
    queue(engine, _addresses(5, "other"), request_id=other, priority=Priority.CRITICAL)
    assert [batch.request_id for batch in claim(engine, request_id=mine).batches] == [mine]
    assert claim(engine, request_id=mine) == Claimed()
    assert {row.request_id for row in queue_rows(engine) if row.status == "queued"} == {other}


def test_claims_at_once_never_take_the_same_address(engine: Engine) -> None:
    """Eight claims at a time give every contact one batch, and every address too, also where two contacts have it."""
    for letter in "xy":
        queue(engine, [f"{letter if n % 3 else 'shared'}{n}@Example{n % 7}.com" for n in range(30)])
        queue(engine, [f"{letter if n % 3 else 'SHARED'}{n}@example{n % 7}.COM" for n in range(30)])

    def until_empty() -> int:
        contacts = 0
        while claimed := claim(engine, batches=2, batch_size=7).contacts:
            contacts += claimed
        return contacts

    assert sum(at_once([until_empty] * 8)) == 120
    _assert_each_address_once(engine, 2 * 20 + 10)


def test_claims_of_two_processes_never_take_the_same_address(engine: Engine) -> None:
    """Workers on other machines share nothing but the database, and that is enough."""
    queue(engine, _addresses(60))
    queue(engine, [address.upper() for address in _addresses(60)])
    url = engine.url.render_as_string(hide_password=False)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _CLAIM_ALL, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.communicate("\n")
        assert worker.returncode == 0
    _assert_each_address_once(engine, 60)


def _assert_each_address_once(engine: Engine, addresses: int) -> None:
    rows = queue_rows(engine)
    assert {row.status for row in rows} == {"assigned"}
    places = {(row.email.lower(), row.batch_id) for row in rows}
    assert len(places) == len({email for email, _ in places}) == addresses
    assert sum(batch.quantity for batch in batch_rows(engine)) == addresses
    uploads = Counter(address.lower() for batch in batch_rows(engine) for address in sent(engine, batch.id))
    assert set(uploads.values()) == {1}
    assert len(uploads) == addresses


def test_a_sorted_file_gives_mixed_batches_one_at_a_time(engine: Engine) -> None:
    """Batches claimed one by one from a file sorted by domain have the domain mix of the whole, to the last one."""
    queue(engine, [f"u{number}@d{domain:02}.com" for domain in range(20) for number in range(40)])
    mixes = [_mix(engine, batch_size=80) for _ in range(10)]
    assert {(len(mix), max(mix.values())) for mix in mixes} == {(20, 4)}
    assert claim(engine).contacts == 0


def test_the_second_half_of_a_sorted_file_does_not_wait_for_the_end(engine: Engine) -> None:
    """Batches whose size does not fit the stretches of a claim take as much from either half."""
    queue(engine, [f"u{number}@{domain}.com" for domain in "ab" for number in range(500)])
    mixes = [_mix(engine, batch_size=50) for _ in range(10)]
    assert {mix["a.com"] for mix in mixes} <= {24, 25, 26}


def _mix(engine: Engine, batch_size: int) -> Counter[str]:
    (batch,) = claim(engine, batches=1, batch_size=batch_size).batches
    mix = Counter(address.partition("@")[2] for address in sent(engine, batch.id))
    assert mix.total() == batch_size
    return mix


def test_batches_are_uploaded_interleaved(engine: Engine) -> None:
    """Within an upload no domain stands in a block, because mail servers throttle what comes in blocks."""
    queue(engine, [f"u{number}@{domain}.com" for domain in "abcd" for number in range(25)])
    (batch,) = claim(engine).batches
    domains = [address.partition("@")[2] for address in sent(engine, batch.id)]
    assert all(len(set(domains[start : start + 4])) >= 3 for start in range(96))


def test_addresses_that_cannot_be_mailed_to_fail_with_a_reason(engine: Engine) -> None:
    """They cost nothing, and their reason is for people and does not quote them."""
    queue(engine, ["good@example.com", "no address", "", "two@@example.com", "a@localhost"])
    claimed = claim(engine)
    assert (claimed.contacts, claimed.invalid, claimed.batches[0].quantity) == (5, 4, 1)
    good, *bad = queue_rows(engine)
    assert (good.status, good.error_message) == ("assigned", None)
    for row in bad:
        assert (row.status, row.batch_id) == ("failed", None)
        assert row.completed_ts is not None
        assert row.error_message.startswith("not an address that can be mailed to: ")
        assert row.email == "" or row.email not in row.error_message


def test_nothing_but_invalid_addresses(engine: Engine) -> None:
    """A claim that finds no address to send makes no batch."""
    queue(engine, ["none", "neither"])
    assert claim(engine) == Claimed(contacts=2, invalid=2)
    assert batch_rows(engine) == []


def test_equal_addresses_share_one_place(engine: Engine) -> None:
    """Contacts with one address in different dress are sent and paid for once, and all get the verdict."""
    queue(
        engine, ["Anna@Example.com", " anna@example.com", "ANNA@EXAMPLE.COM", "ben@bücher.example", "ben@example.com"]
    )
    queue(engine, ["ben@xn--bcher-kva.example"], request_id=queue_rows(engine)[0].request_id)
    (batch,) = claim(engine).batches
    assert batch.quantity == 3
    assert sorted(sent(engine, batch.id)) == ["Anna@example.com", "ben@example.com", "ben@xn--bcher-kva.example"]
    load_verdicts(engine, verify(engine, batch.id), verdicts(sent(engine, batch.id)))
    assert {(row.status, row.bouncer_status) for row in queue_rows(engine)} == {("completed", "deliverable")}


def test_a_contact_that_is_queued_twice(engine: Engine) -> None:
    """A contact that an application queued twice for one request is sent once and settled twice."""
    request = new_request(engine)
    ids = queue(engine, ["anna@example.com"], request_id=request)
    queue_again(engine, ids, request_id=request)
    (batch,) = claim(engine).batches
    report = load_verdicts(engine, verify(engine, batch.id), verdicts(["anna@example.com"]))
    assert (batch.quantity, report.settled, report.missing) == (1, 2, 0)
    assert [row.status for row in queue_rows(engine)] == ["completed"] * 2


def test_contacts_from_an_applications_own_sql(engine: Engine) -> None:
    """Rows with nothing but what the plan's tables demand are claimed, and get their key and hash."""
    execute(
        engine,
        "INSERT INTO Users (id, email) VALUES (1, 'me@example.com')",
        "INSERT INTO Requests (request_id, user_id) VALUES (1, 1)",
        "INSERT INTO Contacts_Global (global_id, email) VALUES (1, 'anna@example.com'), (2, 'ben@Example.com')",
        "INSERT INTO Bouncer_Queue (global_id, user_id, request_id) VALUES (1, 1, 1), (2, 1, 1)",
    )
    (batch,) = claim(engine).batches
    assert (batch.quantity, batch.priority) == (2, 0)
    anna, ben = queue_rows(engine)
    assert anna.domain_hash == ben.domain_hash is not None
    assert anna.bouncer_address_key != ben.bouncer_address_key
    assert len(anna.bouncer_address_key) == 16
    assert anna.assigned_ts is not None


def test_a_claim_that_fails_in_the_middle_buys_nothing(engine: Engine) -> None:
    """A claim is all or nothing: no batch without its contacts, which the next claim would put into another one."""
    queue(engine, _addresses(20))
    execute(engine, refusing_update(engine, "Bouncer_Queue", f"new.queue_id = {queue_rows(engine)[-1].queue_id}"))
    before = rows(engine, "Bouncer_Queue", "Contacts_Global")
    with pytest.raises(DBAPIError):
        claim(engine)
    assert batch_rows(engine) == []
    assert rows(engine, *before) == before
    execute(engine, "DROP TRIGGER refuse")
    assert claim(engine).contacts == 20


@on_servers
def test_rows_that_an_application_holds_are_left_for_later(engine: Engine) -> None:
    """A claim does not wait for an application's long transaction; what that held is claimed afterwards."""
    queue(engine, _addresses(5))
    with _held_by_an_application(engine, "queue_id = 3"):
        assert claim(engine).contacts == 4
    assert claim(engine).contacts == 1


@on_servers
def test_a_request_that_an_application_holds_stops_no_other(engine: Engine) -> None:
    """Contacts of other requests, and less urgent ones, go while an application holds those whose turn it is."""
    queue(engine, _addresses(3), priority=Priority.HIGH)
    queue(engine, _addresses(2, "b"), priority=Priority.HIGH)
    queue(engine, _addresses(4, "c"))
    with _held_by_an_application(engine, "queue_id IN (1, 2, 3)"):
        assert [claim(engine).contacts for _ in range(3)] == [2, 4, 0]
    assert claim(engine).contacts == 3


@contextmanager
def _held_by_an_application(engine: Engine, which: str) -> Iterator[None]:
    url = make_url(engine.url)
    application = pymysql.connect(
        host=url.host or "",
        port=url.port or 0,
        user=url.username,
        password=url.password or "",
        database=url.database,
    )
    with application, application.cursor() as cursor:
        cursor.execute(f"SELECT * FROM Bouncer_Queue WHERE {which} FOR UPDATE")
        yield
        # Not left to the closing of the connection, after which the server takes its time to give locks back.
        application.rollback()


def test_a_corrected_address_does_not_get_the_verdict_on_the_old_one(engine: Engine) -> None:
    """An application that corrects an address and queues the contact again gets the new address verified."""
    (contact,) = queue(engine, ["ana@example.com"])
    (first,) = claim(engine).batches
    load_verdicts(engine, verify(engine, first.id), verdicts(["ana@example.com"], status="undeliverable", score=0))
    write(engine, lambda c: c.execute(update(Contact).values(email="anna@example.com")))
    queue_again(engine, [contact])
    (second,) = claim(engine).batches
    assert sent(engine, second.id) == ["anna@example.com"]
    waiting = queue_rows(engine)[-1]
    assert (waiting.bouncer_status, waiting.bouncer_score, waiting.bouncer_verified_ts) == (None, None, None)


@on_servers
def test_contacts_with_numbers_of_64_bits(empty_engine: Engine) -> None:
    """An application that numbers its contacts beyond two thousand million is served all the same."""
    execute(empty_engine, *(ddl.replace("int AUTO_INCREMENT", "bigint AUTO_INCREMENT") for ddl in APPLICATION))
    upgrade(empty_engine)
    first = 5_000_000_000
    values = f"({first}, 'a@example.com'), ({first + 1}, 'b@example.com')"
    execute(empty_engine, f"INSERT INTO Contacts_Global (global_id, email) VALUES {values}")
    queue_again(empty_engine, [first, first + 1])
    (batch,) = claim(empty_engine).batches
    work = verify(empty_engine, batch.id)
    write(empty_engine, lambda c: c.execute(update(Contact).values(bouncer_address_key=None)))
    load_verdicts(empty_engine, work, verdicts(["a@example.com", "b@example.com"]))
    queue_again(empty_engine, [first])
    assert claim(empty_engine).reused == 1
    assert {row.status for row in queue_rows(empty_engine)} == {"completed"}


def test_more_waits_than_is_claimed(engine: Engine) -> None:
    """A claim takes no more than fits into its batches, so that what is urgent later need not wait long."""
    queue(engine, _addresses(100))
    claimed = claim(engine, batches=2, batch_size=10)
    assert [batch.quantity for batch in claimed.batches] == [10, 10]
    assert len(read(engine, unsettled, ["default"])) == 2
    assert sum(row.status == "queued" for row in queue_rows(engine)) == 80


@on_sqlite
@pytest.mark.thorough
def test_one_claim_takes_no_more_than_memory_bears(engine: Engine) -> None:
    """However many slots are free, a claim takes 40,000 contacts at most, and the next one takes the rest."""
    queue(engine, (f"a{number}@example.com" for number in range(45_000)))
    taken = [claim(engine, batches=100, batch_size=1_000).contacts for _ in range(3)]
    assert taken == [40_000, 5_000, 0]
