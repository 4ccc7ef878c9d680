"""The people around an installation: they import and, in the end, see to what waits for a person."""

import asyncio
import sqlite3
from collections.abc import Callable

from sqlalchemy import Engine

from bouncer.accounts import state as account_state
from bouncer.requests.requeueing import requeue
from bouncer.storage.engine import write
from tests.simulation.plan import Deed
from tests.simulation.service.books import Books

__all__ = ["People"]


class People:
    """Does what the plan says.

    Args:
        engine: The contacts database.
        raw: The same, for what an application does by its own SQL.
        books: Bouncer's, whose credits they can buy.
        tell: Told of what they do.

    Attributes:
        imported: How many contacts were queued, without those that were deleted.
    """

    def __init__(self, engine: Engine, raw: sqlite3.Connection, books: Books, tell: Callable[[str], None]) -> None:
        self._engine = engine
        self._raw = raw
        self._books = books
        self._tell = tell
        self.imported = 0

    async def act(self, deeds: tuple[Deed, ...]) -> None:
        """Does it all, each at its time."""
        loop = asyncio.get_running_loop()
        for deed in deeds:
            await asyncio.sleep(max(0.0, deed.at - loop.time()))
            await self._do(deed)

    async def put_right(self) -> None:
        """Sees to all that waits for a person."""
        for customer in self._books.customers.values():
            if customer.credits < 1_000:
                self._tell(f"a person buys credits for account {customer.name}")
                customer.credits += 10_000
        held = self._raw.execute("SELECT count(*) FROM Bouncer_Batches WHERE held_ts IS NOT NULL").fetchone()[0]
        if held:
            self._tell("a person lets held batches be sent again")
            await asyncio.to_thread(requeue, self._engine, held=True)
        paused = self._raw.execute(
            "SELECT account FROM Bouncer_Accounts WHERE paused_ts IS NOT NULL AND paused_kind <> 'out_of_credits'"
        ).fetchall()
        for (account,) in paused:
            self._tell(f"a person lets account {account} go on")
            await asyncio.to_thread(write, self._engine, account_state.resume, account)

    async def _do(self, deed: Deed) -> None:
        match deed.what:
            case "import":
                self._import(deed.addresses)

    def _import(self, addresses: tuple[str, ...]) -> None:
        raw = self._raw
        raw.execute("BEGIN")
        user = raw.execute("INSERT INTO Users (email) VALUES ('me@example.com')").lastrowid
        request = raw.execute("INSERT INTO Requests (user_id, name) VALUES (?, 'leads')", (user,)).lastrowid
        for address in addresses:
            contact = raw.execute("INSERT INTO Contacts_Global (email) VALUES (?)", (address,)).lastrowid
            raw.execute(
                "INSERT INTO Bouncer_Queue (global_id, user_id, request_id, priority) VALUES (?, ?, ?, 50)",
                (contact, user, request),
            )
        raw.execute("COMMIT")
        self.imported += len(addresses)
        self._tell(f"a person imports {len(addresses)} contacts as request {request}: {' '.join(addresses)}")
