"""Stops a process in the middle of a transaction, at the very statement that a scenario names.

A trigger waits for a lock that the scenario holds, so the transaction stands there, uncommitted, until the scenario
kills somebody or lets it go. Nothing of the program under test has to know.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from tests.chaos.waiting import wait_until

__all__ = ["Breakpoint", "Place", "breakpoint_at"]

_HELD_SECONDS = 600
_STANDING = text(
    "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE = 'User lock' AND INFO LIKE :statement"
)


@dataclass(frozen=True)
class Place:
    """A statement that a transaction can be stopped at.

    Attributes:
        event: Such as ``UPDATE ON Bouncer_Batches``.
        condition: Of the row, in SQL; ``{batch}`` stands for the number of a batch.
    """

    event: str
    condition: str


class Breakpoint:
    """A place where transactions stand still.

    Args:
        holder: The connection that holds the lock.
        name: Of the trigger and the lock.
    """

    def __init__(self, holder: Connection, name: str) -> None:
        self._holder = holder
        self._name = name

    def waits(self) -> bool:
        """Whether a transaction stands here."""
        return bool(self._holder.scalar(_STANDING, {"statement": f"%{self._name}%"}))

    def reached(self, seconds: float = 180) -> None:
        """Waits until a transaction stands here.

        Raises:
            TimeoutError: None came.
        """
        wait_until(self.waits, f"a transaction at {self._name}", seconds)

    def release(self) -> None:
        """Lets everybody go on."""
        # A server that was killed meanwhile has forgotten the lock, and this connection with it.
        with suppress(DBAPIError):
            self._holder.execute(text("DO RELEASE_LOCK(:name)"), {"name": self._name})


@contextmanager
def breakpoint_at(engine: Engine, place: Place, batch: int = 0) -> Iterator[Breakpoint]:
    """Stops whoever comes to the place, while the block runs; then they go on, if they still live.

    Args:
        engine: Of the database.
        place: Where.
        batch: The number of the batch that the place is about.

    Yields:
        The breakpoint.
    """
    name = f"stop_{secrets.token_hex(4)}"
    condition = place.condition.format(batch=batch)
    with engine.connect() as holder:
        point = Breakpoint(holder, name)
        holder.execute(text("DO GET_LOCK(:name, 0)"), {"name": name})
        holder.exec_driver_sql(
            f"CREATE TRIGGER {name} BEFORE {place.event} FOR EACH ROW BEGIN IF {condition} THEN "
            f"DO GET_LOCK('{name}', {_HELD_SECONDS}); DO RELEASE_LOCK('{name}'); END IF; END".replace("%", "%%")
        )
        try:
            yield point
        finally:
            point.release()
            holder.invalidate()
    with engine.connect() as connection:
        # Waits until the transactions that were stopped are over: rolled back, where their process is dead.
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")
