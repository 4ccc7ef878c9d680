"""The surroundings of an installation, as people see them."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Engine

from tests.simulation.installation.outages import Outages
from tests.simulation.installation.ports import Access, Settings
from tests.simulation.judge.judge import Judge
from tests.simulation.judge.settlement import Deeds
from tests.simulation.machine.database import Database
from tests.simulation.machine.processes import Process
from tests.simulation.service.books import Books

__all__ = ["Surroundings", "chosen"]

_One = TypeVar("_One")


@dataclass
class Surroundings:
    """The things that people can reach.

    Attributes:
        open_access: Opens an account for a command that runs in a process.
        stop_all: Kills all workers, as an outage of the database does.
        broken: Told of what must not be.
        cap: Credits that the first request may cost; None for any number.
        outages: What is away for minutes.
        deeds: What people have done, for the judge.
    """

    database: Database
    books: Books
    judge: Judge
    settings: dict[str, Settings]
    open_access: Callable[[str, Process], Access]
    stop_all: Callable[[], None]
    tell: Callable[[str], None]
    broken: Callable[[str], None]
    cap: int | None
    outages: Outages
    deeds: Deeds = field(default_factory=Deeds)

    @property
    def engine(self) -> Engine:
        """The contacts database, for the product."""
        return self.database.engine

    @property
    def raw(self) -> sqlite3.Connection:
        """The contacts database, for what an application does."""
        return self.database.raw

    def want(self, addresses: Iterable[str]) -> None:
        """Notes that somebody wants verdicts on addresses, whether or not they were erased."""
        for address in addresses:
            self.judge.erased.pop(address.lower(), None)

    def queued(self) -> int:
        """Counts the contacts that the queue has, in any state."""
        return int(self.raw.execute("SELECT count(*) FROM Bouncer_Queue").fetchone()[0])

    def request(self, share: float) -> int:
        """Chooses a request."""
        rows = self.raw.execute("SELECT request_id FROM Requests ORDER BY request_id").fetchall()
        return int(chosen(rows, share)[0])


def chosen(some: Sequence[_One], share: float) -> _One:
    """Chooses one of several by a share from 0 to 1."""
    # A share may be rounded up to one.
    return some[min(int(share * len(some)), len(some) - 1)]
