"""Known verdicts and verdicts on their way are found however many contacts wait."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, event

from bouncer.tables import QueueStatus
from tests.bouncer.contacts import claim, queue, queue_rows
from tests.bouncer.existing_tables import on_sqlite

_INSTRUCTIONS_A_CONTACT = 1_000


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
