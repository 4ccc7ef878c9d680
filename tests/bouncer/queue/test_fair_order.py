"""Whose turn it is: asked in a few statements, however many requests wait, and by index alone."""

import pytest
from sqlalchemy import Connection, Engine, insert, text, update

from bouncer.credits.caps import set_cap
from bouncer.queue import fair_order
from bouncer.queue.fair_order import small_request_waits, sources_in_turn
from bouncer.storage.dialects import is_sqlite
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Contact, Layer, QueuedContact, Request
from tests.bouncer.contacts import claim, new_user
from tests.bouncer.storage.existing_tables import execute, on_servers
from tests.bouncer.storage.explaining import Explainer
from tests.statements import counting_statements

_STATEMENTS_A_TURN = 10
_STATEMENTS_A_CLAIM = 80


def _many_requests(engine: Engine, count: int, *, contacts: int = 2, apart: int = 1) -> list[int]:
    """Makes requests with some waiting contacts each, their numbers so far apart."""
    user = new_user(engine)

    def fill(connection: Connection) -> list[int]:
        every = [{"request_id": number, "user_id": user} for number in range(1, count * apart + 1)]
        connection.execute(insert(Request), every)
        people = [{"global_id": n, "email": f"p{n}@example{n % 9}.com"} for n in range(1, count * contacts + 1)]
        connection.execute(insert(Contact), people)
        ids = [number * apart for number in range(1, count + 1)]
        waiting = [
            {"global_id": number + 1, "user_id": user, "request_id": ids[number % count], "priority": 50}
            for number in range(count * contacts)
        ]
        connection.execute(insert(QueuedContact), waiting)
        return ids

    ids = write(engine, fill)
    if not is_sqlite(engine):
        execute(engine, "ANALYZE TABLE Bouncer_Queue, Requests")
    return ids


def _turns(engine: Engine, at_most: int | None = None) -> list[int]:
    return [
        source.request_id for source in read(engine, lambda c: list(sources_in_turn(c, Layer.BASIC, None, at_most, [])))
    ]


@pytest.mark.parametrize("capped", [False, True])
def test_a_claim_with_two_hundred_waiting_requests_takes_as_many_statements_as_with_one(
    engine: Engine, capped: bool
) -> None:
    """It took three for each request that waits: 669 statements under the lock of all claims."""
    ids = _many_requests(engine, 200)
    if capped:
        write(engine, lambda c: [set_cap(c, id_, 1_000) for id_ in ids])
    with counting_statements(engine) as statements:
        claimed = claim(engine, batches=1)
    assert claimed.contacts == 2
    assert len(statements) <= _STATEMENTS_A_CLAIM
    with counting_statements(engine) as statements:
        assert _turns(engine) == [*ids[1:]]
    assert len(statements) <= _STATEMENTS_A_TURN


def test_whether_a_small_request_waits_takes_as_many_statements_with_two_hundred(engine: Engine) -> None:
    """In real time it is asked for each account every few seconds: it took 404 statements."""
    ids = _many_requests(engine, 200, contacts=4)
    with counting_statements(engine) as statements:
        assert read(engine, small_request_waits, Layer.BASIC, None, 4)
        assert not read(engine, small_request_waits, Layer.BASIC, None, 3)
    assert len(statements) <= 2 * _STATEMENTS_A_TURN
    write(
        engine, lambda c: c.execute(update(QueuedContact).where(QueuedContact.global_id == 1).values(status="failed"))
    )
    assert _turns(engine, at_most=3) == ids[:1]


def test_requests_that_wait_among_many_that_do_not(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are found, however far apart; beyond some strides those with the lowest numbers go first."""
    ids = _many_requests(engine, 7, apart=5)
    monkeypatch.setattr(fair_order, "_STRIDE", 4)
    assert _turns(engine) == ids
    monkeypatch.setattr(fair_order, "_MOST_STRIDES", 3)
    assert _turns(engine) == ids[:3]
    monkeypatch.setattr(fair_order, "_MOST_REQUESTS", 2)
    assert _turns(engine) == ids[:2]
    write(engine, lambda c: [set_cap(c, id_, 0) for id_ in ids[:6]])
    assert _turns(engine) == ids[6:]


@pytest.mark.parametrize("at_most", [None, 3])
def test_turns_go_by_index(engine: Engine, at_most: int | None) -> None:
    """Neither whose turn it is nor whether a small request waits reads a whole table."""
    _many_requests(engine, 200, contacts=50, apart=20)
    explainer = Explainer(engine, "Bouncer_Queue", "Requests")
    _turns(engine, at_most)
    assert explainer.whole_tables == [], "\n".join(explainer.plans)


def test_the_deep_passes_of_capped_requests_go_by_index(engine: Engine) -> None:
    """A claim read all requests that the application ever made, where one that waits has a cap."""
    ids = _many_requests(engine, 10, apart=200)
    write(engine, lambda c: [set_cap(c, id_, 1_000) for id_ in ids])
    explainer = Explainer(engine, "Requests")
    assert _turns(engine) == ids
    assert explainer.whole_tables == [], "\n".join(explainer.plans)
    assert any("idx_bouncer_deep_of" in plan for plan in explainer.plans)


@on_servers
@pytest.mark.parametrize("at_most", [None, 3])
def test_a_turn_does_not_read_the_contacts_that_wait(engine: Engine, at_most: int | None) -> None:
    """A recursive query for the requests that wait read all waiting contacts, once for each: 52 s with 300,000."""
    _many_requests(engine, 200, contacts=100)

    def rows_read(connection: Connection) -> int:
        before = _rows_read(connection)
        list(sources_in_turn(connection, Layer.BASIC, None, at_most, []))
        return _rows_read(connection) - before

    assert read(engine, rows_read) < 20 * 200


def _rows_read(connection: Connection) -> int:
    return sum(int(value) for _, value in connection.execute(text("SHOW SESSION STATUS LIKE 'Handler_read%'")))
