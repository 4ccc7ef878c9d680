"""The people around an installation: what they do meanwhile, and how they put right what waits for a person."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Engine

from bouncer.accounts import state as account_state
from bouncer.batches import transitions
from bouncer.costs.forecast import Terms, forecast_queue
from bouncer.credits.prices import PriceTable
from bouncer.erasure.erasing import erase_person
from bouncer.errors import BouncerFlowsError
from bouncer.repeats.deep_pass import Risk, pick_some
from bouncer.requests import cancelling
from bouncer.requests.requeueing import requeue
from bouncer.storage.engine import write
from bouncer.upkeep import retention
from tests.simulation.installation.ports import Access, Settings
from tests.simulation.judge.judge import Judge
from tests.simulation.judge.settlement import Deeds
from tests.simulation.machine.database import Database
from tests.simulation.machine.processes import Process, living_in
from tests.simulation.plan import Deed
from tests.simulation.service.books import Books

__all__ = ["People", "Surroundings"]

_One = TypeVar("_One")

_AGAIN_SECONDS = 10.0


@dataclass
class Surroundings:
    """What people can reach.

    Attributes:
        open_access: Opens an account for a command that runs in a process.
        stop_all: Kills all workers, as an outage of the database does.
        cap: Credits that the first request may cost; None for any number.
    """

    database: Database
    books: Books
    judge: Judge
    settings: dict[str, Settings]
    open_access: Callable[[str, Process], Access]
    stop_all: Callable[[], None]
    tell: Callable[[str], None]
    cap: int | None


class People:
    """Does what the plan says.

    Args:
        around: What they can reach.

    Attributes:
        deeds: What they have done, for the judge.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._engine: Engine = around.database.engine
        self._raw: sqlite3.Connection = around.database.raw
        self._tell = around.tell
        self._backup: tuple[float, bytes] | None = None
        self.deeds = Deeds()
        self._commands: dict[str, Callable[[Deed], Awaitable[None]]] = {
            "cancel": self._cancel,
            "pause": self._pause,
            "resume": self._let_go_on,
            "requeue": self._requeue,
            "requeue a request": self._requeue_request,
            "requeue held": self._requeue_held,
            "erase a person": self._erase,
            "deep pass": self._look_deeper,
            "housekeeping": self._tidy,
        }
        self._at_once: dict[str, Callable[[Deed], None]] = {
            "import": self._import,
            "top up": self._top_up,
            "change a block": self._change_block,
            "backup": self._back_up,
            "restore": self._restore,
            "delete a contact": self._touch,
            "change a contact": self._touch,
            "delete all contacts": self._delete_all,
            "set the database's clock": self._set_clock,
        }

    async def act(self, deeds: tuple[Deed, ...]) -> None:
        """Does it all, each at its time."""
        loop = asyncio.get_running_loop()
        for deed in deeds:
            await asyncio.sleep(max(0.0, deed.at - loop.time()))
            if deed.when:
                # A moment before or after what follows that state.
                await self._around.judge.reached(deed.when, deed.patience)
                await asyncio.sleep(0.3 * deed.share)
            await self._do(deed)
        # Only where nothing else comes between a forecast and its bill.
        if len(deeds) > 1:
            self.deeds.forecast = None

    async def put_right(self) -> None:
        """Sees to all that waits for a person."""
        for customer in self._around.books.customers.values():
            if customer.credits < 1_000:
                self._tell(f"a person buys credits for account {customer.name}")
                customer.credits += 10_000
        if self._around.cap is not None:
            self._around.cap = self._around.judge.cap = None
            self.deeds.forecast = None
            self._tell("a person takes the cap away")
            self._raw.execute("UPDATE Requests SET bouncer_max_credits = NULL")
        held = self._raw.execute("SELECT count(*) FROM Bouncer_Batches WHERE held_ts IS NOT NULL").fetchone()[0]
        if held:
            self._tell("a person lets held batches be sent again")
            await asyncio.to_thread(requeue, self._engine, held=True)
        paused = self._raw.execute(
            "SELECT account FROM Bouncer_Accounts WHERE paused_ts IS NOT NULL AND paused_kind <> 'out_of_credits'"
        ).fetchall()
        for (account,) in paused:
            await self._resume(account)

    async def _do(self, deed: Deed) -> None:
        if deed.what in self._commands:
            await self._commands[deed.what](deed)
        else:
            self._at_once[deed.what](deed)

    async def _requeue(self, _deed: Deed) -> None:
        await self._as_command("requeue", lambda _: asyncio.to_thread(requeue, self._engine))

    async def _requeue_request(self, deed: Deed) -> None:
        request = self._request(deed)
        await self._as_command(
            f"requeue of request {request}", lambda _: asyncio.to_thread(requeue, self._engine, request_id=request)
        )

    async def _requeue_held(self, _deed: Deed) -> None:
        await self._as_command("requeue --held", lambda _: asyncio.to_thread(requeue, self._engine, held=True))

    async def _let_go_on(self, deed: Deed) -> None:
        await self._resume(self._account(deed))

    def _top_up(self, deed: Deed) -> None:
        self._around.books.customers[f"key-{self._account(deed)}"].credits += 50
        self._tell(f"a person buys 50 credits for account {self._account(deed)}")

    def _back_up(self, _deed: Deed) -> None:
        self._tell("a backup is made")
        self._backup = (asyncio.get_running_loop().time(), self._around.database.backup())

    def _set_clock(self, deed: Deed) -> None:
        self._around.database.skew = 10.0 * deed.share - 5.0
        self._tell("the database fails over to a server with another clock")

    async def _as_command(self, name: str, work: Callable[[Process], Awaitable[object]]) -> None:
        # A person who sees a command killed types it again.
        for again in range(5):
            process = Process(f"{name}{' again' if again else ''}")
            self._tell(f"a person runs {process.name}")
            with living_in(process):
                running = asyncio.ensure_future(_awaited(work, process))
            await asyncio.wait([running])
            await process.bury()
            error = None if running.cancelled() else running.exception()
            if error is None and not running.cancelled():
                return
            if isinstance(error, Exception) and not isinstance(error, BouncerFlowsError):
                raise error
            await asyncio.sleep(_AGAIN_SECONDS)

    def _import(self, deed: Deed) -> None:
        raw, addresses = self._raw, deed.addresses
        priority = _chosen((25, 50, 50, 75, 100), deed.share)
        raw.execute("BEGIN")
        user = raw.execute("INSERT INTO Users (email) VALUES ('me@example.com')").lastrowid
        cap = self._around.cap if deed.at == 0 else None
        request = raw.execute(
            "INSERT INTO Requests (user_id, name, bouncer_max_credits) VALUES (?, 'leads', ?)", (user, cap)
        ).lastrowid
        for address in addresses:
            contact = raw.execute("INSERT INTO Contacts_Global (email) VALUES (?)", (address,)).lastrowid
            raw.execute(
                "INSERT INTO Bouncer_Queue (global_id, user_id, request_id, priority) VALUES (?, ?, ?, ?)",
                (contact, user, request, priority),
            )
        raw.execute("COMMIT")
        self.deeds.imported += len(addresses)
        self._tell(
            f"a person imports {len(addresses)} contacts as request {request}, priority {priority}:"
            f" {' '.join(addresses)}{'' if cap is None else f'; it may cost {cap}'}"
        )
        if deed.at == 0 and deed.share < 0.08:
            self._forecast()

    def _forecast(self) -> None:
        settings = self._around.settings["default"]
        terms = Terms("default", settings.batch_size, settings.max_concurrent_batches, settings.fresh_for, PriceTable())
        forecast = forecast_queue(self._engine, terms)
        self.deeds.forecast = (forecast.to_pay, forecast.most_credits)
        self._tell(f"a forecast says {forecast.to_pay} addresses, {forecast.most_credits} credits at most")

    async def _cancel(self, deed: Deed) -> None:
        request = self._request(deed)

        async def cancel(process: Process) -> None:
            accounts = {name: self._around.open_access(name, process) for name in self._around.settings}
            access = accounts["default"]
            await access.write(cancelling.mark, request, by="a person", reason="no need")
            await access.write(cancelling.withdraw_unsent, request)
            while await access.write(cancelling.withdraw_waiting, request):
                pass
            for batch in await access.read(cancelling.to_finish, request):
                try:
                    await accounts[batch.account].client.finish(batch.bouncer_id)
                except BouncerFlowsError as error:
                    self._tell(f"batch {batch.id} is not finished: {type(error).__name__}")
                    continue
                await access.write(cancelling.note_finish_requested, batch.id)

        await self._as_command(f"cancel of request {request}", cancel)

    async def _pause(self, deed: Deed) -> None:
        account = self._account(deed)
        self._tell(f"a person pauses account {account}")
        await asyncio.to_thread(
            lambda: write(self._engine, account_state.pause, account, by="a person", reason="a look")
        )

    async def _resume(self, account: str) -> None:
        self._tell(f"a person lets account {account} go on")
        await asyncio.to_thread(write, self._engine, account_state.resume, account)
        self._around.judge.must_look.discard(account)

    def _change_block(self, deed: Deed) -> None:
        settings = self._around.settings[self._account(deed)]
        match int(deed.share * 100) % 4:
            case 0:
                settings.max_concurrent_batches = max(1, settings.max_concurrent_batches - 1)
            case 1:
                settings.max_concurrent_batches += 1
            case 2:
                settings.batch_size = max(1, settings.batch_size // 2)
            case 3:
                settings.ambiguous_upload = "hold" if settings.ambiguous_upload == "resubmit" else "resubmit"
        self._around.judge.note_limit(self._account(deed), settings.max_concurrent_batches)
        self._tell(
            f"a person changes block {self._account(deed)}: {settings.max_concurrent_batches} in flight, batches of"
            f" {settings.batch_size}, {settings.ambiguous_upload}"
        )

    def _restore(self, _deed: Deed) -> None:
        if self._backup is None:
            return
        made, backup = self._backup
        around = self._around
        around.stop_all()
        around.database.restore(backup)
        around.judge.forget(made)
        self.deeds.imported = self._queued()
        self._tell(f"the database is restored to what it was at {made:.1f}")

    def _touch(self, deed: Deed) -> None:
        rows = self._raw.execute("SELECT global_id, email FROM Contacts_Global ORDER BY global_id").fetchall()
        if not rows:
            return
        contact, email = _chosen(rows, deed.share)
        self.deeds.touched.add(email.lower())
        queued = self._raw.execute("SELECT request_id FROM Bouncer_Queue WHERE global_id = ?", (contact,)).fetchall()
        if deed.what == "change a contact":
            self.deeds.changed.setdefault(contact, set()).add(email.lower())
            self._raw.execute("UPDATE Contacts_Global SET email = ? WHERE global_id = ?", (f"d-new-{email}", contact))
            self._tell(f"an application changes contact {contact}, {email}")
            return
        self.deeds.imported -= len(queued)
        self.deeds.thinned.update(request for (request,) in queued)
        self._raw.execute("DELETE FROM Contacts_Global WHERE global_id = ?", (contact,))
        self._tell(f"an application deletes contact {contact}, {email}")

    def _delete_all(self, deed: Deed) -> None:
        while self._raw.execute("SELECT EXISTS (SELECT 1 FROM Contacts_Global)").fetchone()[0]:
            self._touch(deed)

    async def _erase(self, deed: Deed) -> None:
        rows = self._raw.execute("SELECT email FROM Contacts_Global WHERE email LIKE '%@%' ORDER BY 1").fetchall()
        if not rows:
            return
        (email,) = _chosen(rows, deed.share)
        self.deeds.touched.add(email.lower())
        of_it = (
            "SELECT request_id FROM Bouncer_Queue q JOIN Contacts_Global c ON c.global_id = q.global_id"
            " WHERE lower(email) = ?"
        )
        self.deeds.thinned.update(request for (request,) in self._raw.execute(of_it, (email.lower(),)))
        await self._as_command(
            f"erase of {email}", lambda _: asyncio.to_thread(erase_person, self._engine, email, exports=())
        )
        self.deeds.imported = self._queued()

    async def _look_deeper(self, _deed: Deed) -> None:
        if "deep" not in self._around.settings:
            return
        request = int(self._raw.execute("SELECT min(request_id) FROM Requests").fetchone()[0])

        async def pick(process: Process) -> None:
            access = self._around.open_access("deep", process)
            after: int | None = 0
            while after is not None:
                stretch = await access.write(pick_some, request, Risk(), after=after, fresh_days=30.0, again=False)
                after = stretch.last

        await self._as_command(f"verify-risky of request {request}", pick)
        # A second look is paid for once more.
        deeper = "SELECT email FROM Contacts_Global c JOIN Bouncer_Queue q USING (global_id) WHERE q.layer = 'deep'"
        self.deeds.touched.update(str(email).lower() for (email,) in self._raw.execute(deeper))
        self.deeds.imported = self._queued()

    async def _tidy(self, _deed: Deed) -> None:
        async def tidy(process: Process) -> None:
            for name in self._around.settings:
                access = self._around.open_access(name, process)
                for batch, bouncer_id in await access.read(retention.find_empty_batches, name):
                    if bouncer_id is not None:
                        with suppress(BouncerFlowsError):
                            await access.client.finish(bouncer_id)
                    await access.write(transitions.close_empty, batch)

        await self._as_command("housekeeping", tidy)

    def _queued(self) -> int:
        return int(self._raw.execute("SELECT count(*) FROM Bouncer_Queue").fetchone()[0])

    def _account(self, deed: Deed) -> str:
        names = list(self._around.settings)
        return _chosen(names, deed.share)

    def _request(self, deed: Deed) -> int:
        rows = self._raw.execute("SELECT request_id FROM Requests ORDER BY request_id").fetchall()
        return int(_chosen(rows, deed.share)[0])


def _chosen(some: Sequence[_One], share: float) -> _One:
    # A share may be rounded up to one.
    return some[min(int(share * len(some)), len(some) - 1)]


async def _awaited(work: Callable[[Process], Awaitable[object]], process: Process) -> None:
    await work(process)
