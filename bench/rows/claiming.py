"""Time to claim and lay out one batch of 10,000, out of queues of very different lengths."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from bench.measuring import Bench, Row, median, stopwatch
from bouncer.queue.claiming import claim
from bouncer.storage.engine import engine_for
from bouncer.storage.migrate import upgrade
from bouncer.verdicts.freshness import FreshFor

__all__ = ["claiming", "fill"]

_BATCH = 10_000
_SHORT = 10_000
_DOMAINS = 5_000


def claiming(bench: Bench) -> list[Row]:
    """Measures it right after the server was killed and started again, and with the same claim repeated."""
    lengths = [length for length in (_SHORT, 100_000, 1_000_000, 10_000_000) if length <= bench.most]
    times = {length: _times(bench, length) for length in lengths}
    bench.costs.update({f"claim out of {length}": of_length["warm"] for length, of_length in times.items()})
    return [
        Row(
            f"claim a batch out of {length:,} contacts, {how}",
            times[length][how],
            "s",
            floor=times[_SHORT][how],
            floor_is=f"out of {_SHORT:,}",
            most_ratio=1.5,
        )
        for length in lengths[1:]
        for how in ("cold", "warm")
    ]


def _times(bench: Bench, length: int) -> dict[str, float]:
    with bench.server.database() as name, _engine(bench.server.url(name)) as engine:
        upgrade(engine)
        bench.say(f"filling a queue of {length:,}")
        fill(bench, name, length)
        cold = []
        for _ in range(1 if bench.quick else 3):
            engine.dispose()
            bench.server.restart()
            cold.append(_claim(engine))
        warm = [_claim(engine) for _ in range(1 if bench.quick else 9)]
    return {"cold": median(cold), "warm": median(warm)}


@contextmanager
def _engine(url: str) -> Iterator[Engine]:
    engine = engine_for(url)
    yield engine
    engine.dispose()


def fill(bench: Bench, name: str, length: int) -> None:
    """Queues contacts as an application does: without keys and hashes, which the claim works out.

    Args:
        bench: With the server.
        name: A database with empty tables.
        length: How many contacts.
    """
    bench.server.execute(
        "INSERT INTO Users (id, email) VALUES (1, 'bench@example.com')",
        "INSERT INTO Requests (request_id, user_id, name) VALUES (1, 1, 'bench')",
        database=name,
    )
    # Both tables at once, since ten million rows of each take minutes.
    fast = "SET foreign_key_checks = 0, unique_checks = 0"
    contacts = (
        "INSERT INTO Contacts_Global (global_id, email) SELECT seq, CONCAT('person', seq, '@company', "  # noqa: S608  # numbers
        f"seq * 7919 % {_DOMAINS}, '.com') FROM {bench.server.numbers(length)}"
    )
    queue = (
        "INSERT INTO Bouncer_Queue (queue_id, global_id, user_id, request_id, priority) "  # noqa: S608  # a number
        f"SELECT seq, seq, 1, 1, 50 FROM {bench.server.numbers(length)}"
    )
    with ThreadPoolExecutor() as pool:
        for filled in [pool.submit(bench.server.execute, fast, rows, database=name) for rows in (contacts, queue)]:
            filled.result()
    bench.server.execute("ANALYZE TABLE Contacts_Global, Bouncer_Queue", database=name)


def _claim(engine: Engine) -> float:
    # Rolled back, so that every claim finds the same queue.
    with engine.connect() as connection, stopwatch() as watch:
        _claimed(connection)
        watch.stop()
        connection.rollback()
    return watch.seconds


def _claimed(connection: Connection) -> None:
    claimed = claim(connection, "default", batches=1, batch_size=_BATCH, fresh_for=FreshFor())
    if claimed.contacts != _BATCH:
        raise AssertionError(f"a batch of {_BATCH:,} was to be claimed, not {claimed.contacts:,}")
