"""The people around an installation: what they do meanwhile, and how they put right what waits for a person."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

from bouncer.accounts import state as account_state
from bouncer.costs.forecast import Terms, forecast_queue
from bouncer.credits.prices import PriceTable
from bouncer.requests.requeueing import requeue
from bouncer.storage.engine import write
from tests.simulation.installation.commands import Commands
from tests.simulation.installation.outages import BOUNCER, DATABASE, KEY, PREFECT
from tests.simulation.installation.surroundings import Surroundings, chosen
from tests.simulation.plan import Deed

__all__ = ["People"]


class People:
    """Does what the plan says.

    Args:
        around: What they can reach.

    Attributes:
        effects: The commands, each with whether it found anything to do.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._backup: tuple[float, bytes] | None = None
        commands = Commands(around)
        self.effects: Counter[tuple[str, bool]] = Counter()
        self._commands: dict[str, Callable[[Deed], Awaitable[bool]]] = {
            "cancel": commands.cancel,
            "pause": self._pause,
            "resume": self._let_go_on,
            "requeue": commands.requeue,
            "requeue a request": commands.requeue_request,
            "requeue held": commands.requeue_held,
            "import a file": commands.import_file,
            "erase a person": commands.erase,
            "deep pass": commands.look_deeper,
            "housekeeping": commands.tidy,
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
            "power cut": self._cut_power,
            "set the database's clock": self._set_clock,
            **{f"{what} goes away": partial(self._go_away, what) for what in (BOUNCER, DATABASE, PREFECT, KEY)},
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
            self._around.deeds.forecast = None

    async def put_right(self) -> None:
        """Sees to all that waits for a person."""
        for customer in self._around.books.customers.values():
            if customer.credits < 1_000:
                self._around.tell(f"a person buys credits for account {customer.name}")
                customer.credits += 10_000
        if self._around.cap is not None:
            self._around.cap = self._around.judge.cap = None
            self._around.deeds.forecast = None
            self._around.tell("a person takes the cap away")
            self._around.raw.execute("UPDATE Requests SET bouncer_max_credits = NULL")
        held = self._around.raw.execute("SELECT count(*) FROM Bouncer_Batches WHERE held_ts IS NOT NULL").fetchone()[0]
        if held:
            self._around.tell("a person lets held batches be sent again")
            await asyncio.to_thread(requeue, self._around.engine, held=True)
        paused = self._around.raw.execute(
            "SELECT account FROM Bouncer_Accounts WHERE paused_ts IS NOT NULL AND paused_kind <> 'out_of_credits'"
        ).fetchall()
        for (account,) in paused:
            await self._resume(account)

    async def _do(self, deed: Deed) -> None:
        if deed.what in self._commands:
            self.effects[deed.what, await self._commands[deed.what](deed)] += 1
        else:
            self._at_once[deed.what](deed)

    async def _let_go_on(self, deed: Deed) -> bool:
        return await self._resume(self._account(deed))

    def _go_away(self, what: str, deed: Deed) -> None:
        self._around.tell(f"{what} is away for {self._around.outages.begin(what, deed.share):.0f} s")

    def _top_up(self, deed: Deed) -> None:
        self._around.books.customers[f"key-{self._account(deed)}"].credits += 50
        self._around.tell(f"a person buys 50 credits for account {self._account(deed)}")

    def _back_up(self, _deed: Deed) -> None:
        self._around.tell("a backup is made")
        self._backup = (asyncio.get_running_loop().time(), self._around.database.backup())

    def _cut_power(self, _deed: Deed) -> None:
        self._around.tell("all machines go down")
        self._around.stop_all()

    def _set_clock(self, deed: Deed) -> None:
        self._around.database.skew = 10.0 * deed.share - 5.0
        self._around.tell("the database fails over to a server with another clock")

    def _import(self, deed: Deed) -> None:
        raw, addresses = self._around.raw, deed.addresses
        priority = chosen((25, 50, 50, 75, 100), deed.share)
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
        self._around.want(addresses)
        self._around.deeds.imported += len(addresses)
        self._around.tell(
            f"a person imports {len(addresses)} contacts as request {request}, priority {priority}:"
            f" {' '.join(addresses)}{'' if cap is None else f'; it may cost {cap}'}"
        )
        if deed.at == 0 and deed.share < 0.08:
            self._forecast()

    def _forecast(self) -> None:
        settings = self._around.settings["default"]
        terms = Terms("default", settings.batch_size, settings.max_concurrent_batches, settings.fresh_for, PriceTable())
        forecast = forecast_queue(self._around.engine, terms)
        self._around.deeds.forecast = (forecast.to_pay, forecast.most_credits)
        self._around.tell(f"a forecast says {forecast.to_pay} addresses, {forecast.most_credits} credits at most")

    async def _pause(self, deed: Deed) -> bool:
        account = self._account(deed)
        self._around.tell(f"a person pauses account {account}")
        paused = await asyncio.to_thread(
            lambda: write(self._around.engine, account_state.pause, account, by="a person", reason="a look")
        )
        if self._paused_kind(account) in {None, "out_of_credits"}:
            self._around.broken(f"a person has paused account {account}, and it is not paused by one")
        return paused

    def _paused_kind(self, account: str) -> str | None:
        kind = "SELECT paused_kind FROM Bouncer_Accounts WHERE account = ? AND paused_ts IS NOT NULL"
        found = self._around.raw.execute(kind, (account,)).fetchone()
        return None if found is None else str(found[0])

    async def _resume(self, account: str) -> bool:
        self._around.tell(f"a person lets account {account} go on")
        # Whoever says so has looked, however long the command takes to come back.
        self._around.judge.must_look.discard(account)
        ended = await asyncio.to_thread(write, self._around.engine, account_state.resume, account)
        if self._paused_kind(account) == "person":
            self._around.broken(f"a person lets account {account} go on, and it is paused still")
        return ended

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
        self._around.tell(
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
        self._around.deeds.imported = self._around.queued()
        self._around.tell(f"the database is restored to what it was at {made:.1f}")

    def _touch(self, deed: Deed) -> None:
        rows = self._around.raw.execute("SELECT global_id, email FROM Contacts_Global ORDER BY global_id").fetchall()
        if not rows:
            return
        contact, email = chosen(rows, deed.share)
        self._around.deeds.touched.add(email.lower())
        queued = self._around.raw.execute(
            "SELECT request_id FROM Bouncer_Queue WHERE global_id = ?", (contact,)
        ).fetchall()
        if deed.what == "change a contact":
            self._around.deeds.changed.setdefault(contact, set()).add(email.lower())
            self._around.raw.execute(
                "UPDATE Contacts_Global SET email = ? WHERE global_id = ?", (f"d-new-{email}", contact)
            )
            self._around.tell(f"an application changes contact {contact}, {email}")
            return
        self._around.deeds.imported -= len(queued)
        self._around.deeds.thinned.update(request for (request,) in queued)
        self._around.raw.execute("DELETE FROM Contacts_Global WHERE global_id = ?", (contact,))
        self._around.tell(f"an application deletes contact {contact}, {email}")

    def _delete_all(self, deed: Deed) -> None:
        while self._around.raw.execute("SELECT EXISTS (SELECT 1 FROM Contacts_Global)").fetchone()[0]:
            self._touch(deed)

    def _account(self, deed: Deed) -> str:
        names = list(self._around.settings)
        return chosen(names, deed.share)
