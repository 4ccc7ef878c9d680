"""One history: the world that a plan describes, from its first import until all is settled."""

import asyncio
import hashlib
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy.exc import OperationalError

from bouncer.api.client import BouncerClient
from bouncer.api.request_gate import SharedGate
from bouncer.batches import callbacks
from bouncer.errors import BouncerFlowsError
from bouncer.storage import engine
from bouncer.storage.engine import write
from bouncer.storage.tables import Layer
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.second_chances import Chances
from tests.simulation.faults import COMMIT, WAIT, Fault, Faults, freeze
from tests.simulation.installation.outages import DATABASE, Outages
from tests.simulation.installation.people import People
from tests.simulation.installation.ports import Access, Buckets, Marks, Server, Settings, Slots
from tests.simulation.installation.surroundings import Surroundings
from tests.simulation.installation.work_left import WorkLeft, look_for_work
from tests.simulation.installation.worker import Worker
from tests.simulation.judge.judge import Judge
from tests.simulation.judge.settlement import faults_of_settlement
from tests.simulation.machine import processes
from tests.simulation.machine.database import Database
from tests.simulation.machine.processes import Killed, Process, living_in
from tests.simulation.machine.virtual_time import Deadlock, VirtualLoop
from tests.simulation.plan import Plan
from tests.simulation.service.books import Books, Customer, Order
from tests.simulation.service.transport import Transport

__all__ = ["History", "Outcome"]

_URL = "http://127.0.0.1/v1.1"
_CALLBACKS = "http://127.0.0.1/callbacks"
_LOOK_SECONDS = 5.0
_PUT_RIGHT_SECONDS = 30.0
_PATIENCE_SECONDS = 1_500.0
_GRACE_SECONDS = 20.0
_LATE_SECONDS = 300.0
_OUTAGE_SECONDS = engine.OUTAGE_SECONDS
_SHORT_PATIENCE_SECONDS = 2.0
_LATE = (0.1, 1.0, 10.0, 40.0, None)
_LATER = (0.1, 1.0, 10.0, 60.0, 120.0)
# When nobody waits for it any more.
_TOO_LATE = (95.0, 110.0, 130.0)
_CALLED = {("held", "queued at Bouncer"), ("to be sent again", "queued at Bouncer")}
_MOST_COMMITS = 1_500
_MOST_TRANSACTIONS = 6_000


@dataclass
class Outcome:
    """What came of a history.

    Attributes:
        broken: What must not have been, or empty.
        trace: What happened: when, to whom, what.
        faults: What went wrong.
        edges: The ways that batches went, each with what happened to the process just then.
        seconds: How long it took, in virtual time.
        effects: The commands of people, each with whether it found anything to do.
    """

    broken: str = ""
    trace: list[tuple[float, str, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    edges: Counter[tuple[tuple[str, str], str]] = field(default_factory=Counter)
    seconds: float = 0.0
    effects: Counter[tuple[str, bool]] = field(default_factory=Counter)

    @property
    def digest(self) -> str:
        """The same for the same history."""
        text = "\n".join(f"{at:.6f} {who}: {what}" for at, who, what in self.trace)
        return hashlib.sha256(text.encode()).hexdigest()


class History:
    """Plays one history.

    Args:
        database: An empty one is made of it.
        plan: What the seed decides.
        told: What goes wrong, instead of what the seed says.
    """

    def __init__(self, database: Database, plan: Plan, told: tuple[Fault, ...] | None = None) -> None:
        self._plan = plan
        self._database = database
        self._faults = Faults(plan.seed, plan.rates, plan.most_faults, told)
        self._chance = random.Random(f"world {plan.seed}")
        self._books = Books()
        self._outcome = Outcome()
        self._settings: dict[str, Settings] = {}
        self._workers: dict[int, Process] = {}
        self._is_over = False
        self._aim = plan.aim
        self._outages = Outages()
        self._commit_count = 0
        self._transaction_count = 0

    def play(self) -> Outcome:
        """Plays it to its end."""
        processes.use_processes_for_stopping()
        random.seed(f"product {self._plan.seed}")
        # Where the database is away, for longer than anybody has patience: one thread waits for all.
        loses_database = any(deed.what == f"{DATABASE} goes away" for deed in self._plan.deeds)
        engine.OUTAGE_SECONDS = _SHORT_PATIENCE_SECONDS if loses_database else _OUTAGE_SECONDS
        with VirtualLoop(self._plan.seed) as loop:
            self._loop = loop
            self._database.reset(self._begins, self._commits)
            self._database.skew = self._plan.clocks[1]
            self._judge = Judge(
                self._database.raw,
                self._books,
                self._settings,
                self._plan.requests_a_minute,
                self._break,
                lambda: self._quiet_after,
            )
            self._judge.cap = self._plan.cap
            try:
                loop.run_until_complete(self._live())
            except Deadlock:
                self._break("nobody waits for anything that will ever happen")
            finally:
                self._database.raw.on_begin = self._database.raw.on_commit = None
            self._outcome.seconds = loop.time()
        self._outcome.faults = self._faults.happened
        self._outcome.edges = self._judge.edges
        return self._outcome

    def _tell(self, what: str) -> None:
        process = processes.current()
        self._outcome.trace.append((self._loop.time(), "the world" if process is None else process.name, what))

    def _break(self, what: str) -> None:
        if not self._outcome.broken:
            self._outcome.broken = what
            self._tell(f"BROKEN: {what}")

    async def _live(self) -> None:
        self._open_accounts()
        around = Surroundings(
            self._database,
            self._books,
            self._judge,
            self._settings,
            lambda name, process: Access(
                name, self._settings[name], self._database.engine, self._client(name, process)
            ),
            self._kill_all,
            self._tell,
            self._break,
            self._plan.cap,
            self._outages,
        )
        people = People(around)
        acting = self._loop.create_task(people.act(self._plan.deeds))
        workers = [self._loop.create_task(self._employ(number)) for number in range(1, self._plan.workers + 1)]
        end = max(self._plan.quiet_after, self._plan.deeds[-1].at) + _PATIENCE_SECONDS
        next_put_right = self._plan.quiet_after
        while not self._outcome.broken:
            await asyncio.sleep(_LOOK_SECONDS)
            now = self._loop.time()
            if now > self._plan.quiet_after:
                self._faults.stop()
            if acting.done():
                acting.result()
                if self._judge.is_settled():
                    break
                if now >= next_put_right:
                    next_put_right = now + _PUT_RIGHT_SECONDS
                    await people.put_right()
            self._look_for_what_is_late(now, end)
        await self._end(workers)
        if not self._outcome.broken:
            for what in faults_of_settlement(self._database.raw, self._books, around.deeds):
                self._break(what)
        self._outcome.effects = people.effects

    @property
    def _quiet_after(self) -> float:
        return max(self._plan.quiet_after, self._outages.over_at)

    def _look_for_what_is_late(self, now: float, end: float) -> None:
        if now > self._quiet_after + _LATE_SECONDS and (late := self._judge.late_chances(_LATE_SECONDS)):
            self._break(f"{late} second chances are due for {_LATE_SECONDS:.0f} s, and not taken")
        if now > max(end, self._outages.over_at + _PATIENCE_SECONDS):
            self._break(f"not settled {_PATIENCE_SECONDS:.0f} s after the last fault: {self._judge.left()}")

    async def _end(self, workers: "list[asyncio.Task[None]]") -> None:
        self._is_over = True
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def _open_accounts(self) -> None:
        plan = self._plan
        server = Server(self._outages)
        self._marks = Marks(server)
        self._buckets: dict[str, Buckets] = {}
        self._slots: dict[str, Slots] = {}
        self._transport = Transport(
            self._books,
            self._faults,
            self._chance,
            clock=plan.clocks[0],
            stuck=plan.stuck,
            removed=plan.removed,
            vanishing=plan.vanishing,
            lag=plan.lag,
            tell=self._tell,
            judge=self._judge.called,
            freeze=self._freeze,
            accepted=self._judge.accepted,
            asked=self._judge.asked,
            outages=self._outages,
        )
        names = [
            "default",
            *(f"other-{number}" for number in range(1, plan.accounts)),
            *(["deep"] if plan.deep else []),
        ]
        for name in names:
            self._books.customers[f"key-{name}"] = Customer(
                name,
                plan.credits,
                seconds_an_address=plan.seconds_an_address,
                in_parallel=plan.in_parallel,
                ahead=plan.ahead,
                called=self._call_back,
                chance=self._chance,
            )
            self._settings[name] = Settings(
                max_concurrent_batches=plan.most_in_flight,
                batch_size=plan.batch_size,
                rate_limit_per_minute=plan.requests_a_minute,
                poll_seconds_min=2.0,
                poll_seconds_max=plan.poll_seconds_max,
                batch_deadline_seconds=plan.deadline,
                callback_url=_CALLBACKS if plan.callbacks else None,
                callback_wait_seconds=90.0,
                ambiguous_upload=plan.ambiguous_upload,
                queue_ahead_seconds=plan.queue_ahead,
                fresh_for=FreshFor(),
                chances=Chances(plan.second_chances, 0.02),
                realtime_max_addresses=plan.realtime,
                delete_at_bouncer=plan.delete,
                layer=Layer.DEEP if name == "deep" else Layer.BASIC,
            )
            self._buckets[name] = Buckets(plan.requests_a_minute, server)
            self._slots[name] = Slots(self._settings[name], plan.slots_beyond, server)
            self._judge.note_limit(name, plan.most_in_flight)

    async def _employ(self, number: int) -> None:
        generation = 0
        await asyncio.sleep(self._chance.uniform(0.0, 3.0))
        while not self._is_over:
            generation += 1
            process = Process(f"worker {number}.{generation}")
            self._workers[number] = process
            with living_in(process):
                working = self._loop.create_task(self._work(process))
            try:
                await asyncio.wait([working])
            finally:
                await process.bury()
            error = None if working.cancelled() else working.exception()
            if error is not None and not isinstance(error, Killed | BouncerFlowsError):
                self._break(f"{process.name} ended by {type(error).__name__}: {error}")
            await asyncio.sleep(self._chance.choice((1.0, 5.0, 25.0)))

    async def _work(self, process: Process) -> None:
        accounts = []
        for name, settings in self._settings.items():
            accounts.append(Access(name, settings, self._database.engine, self._client(name, process)))
        tick = self._chance.choice((10.0, 20.0, 40.0))
        worker = Worker(
            process,
            accounts,
            self._slots,
            self._marks,
            tick=tick,
            checks=self._plan.check_seconds,
            checks_first=self._plan.checks_first,
            work_left=self._work_left,
            tell=self._tell,
        )
        await worker.work()

    def _work_left(self) -> WorkLeft:
        return look_for_work(self._database.raw, self._database.now(), self._plan.count_seconds)

    def _client(self, name: str, process: Process) -> BouncerClient:
        gate = SharedGate(
            self._database.engine, name, self._buckets[name], f"{process.name} {name}", realtime_per_hour=1_000
        )

        async def key() -> str:
            return f"key-{name}"

        return BouncerClient(_URL, key, gate, transport=self._transport)

    def _call_back(self, order: Order) -> None:
        # Late, or never, or twice.
        aim = self._plan.aim
        late = self._chance.choice(_LATE if aim is None else _TOO_LATE if aim.edge in _CALLED else _LATER)
        if late is not None:
            self._loop.create_task(self._receive(order, late))

    async def _receive(self, order: Order, late: float) -> None:
        await asyncio.sleep(late)
        ids = callbacks.ids_in(f'{{"batchId": "{order.id}"}}'.encode())
        token = str(order.callback).rpartition("/")[2]
        self._tell(f"Bouncer calls for {order.id[:6]}")
        await asyncio.to_thread(write, self._database.engine, callbacks.note, token, ids)

    def _begins(self) -> None:
        process = processes.current()
        if process is None:
            return
        self._transaction_count += 1
        if self._transaction_count > _MOST_TRANSACTIONS:
            # Those that change nothing, too: whoever takes up the same again and again.
            self._break("the work never ends")
            raise Killed
        if self._outages.is_away(DATABASE):
            process.note_mishap()
            raise OperationalError("BEGIN", None, sqlite3.OperationalError("database is locked"))
        fault = self._faults.at("wait", WAIT)
        if fault is None:
            return
        if fault.kind == "stopped":
            self._stop(process)
            return
        process.note_mishap()
        self._tell("is killed")
        process.kill()
        raise Killed

    def _commits(self, commit: Callable[[], None], rollback: Callable[[], None]) -> None:
        process = processes.current()
        changes = self._judge.look()
        fault = (
            None if process is None else self._faults.at("way" if changes else "commit", COMMIT, self._aimed(changes))
        )
        what = ", ".join(f"batch {id_}: {old} > {new}" for id_, (old, new) in changes)
        fate = "" if fault is None else fault.kind
        self._judge.count(changes, fate)
        self._commit_count += 1
        if self._commit_count > _MOST_COMMITS:
            self._break("the work never ends")
            rollback()
            raise Killed
        self._thaw_taken()
        if what or fate:
            self._tell(f"commits {what}{f' [{fate}]' if fate else ''}")
        if fault is None or process is None:
            commit()
            self._judge.committed(changes)
            return
        process.note_mishap()
        if fault.kind == "stopped":
            self._stop(process)
        if fault.kind.endswith("before"):
            rollback()
        else:
            commit()
            self._judge.committed(changes)
        if fault.kind.startswith("killed"):
            process.kill()
            raise Killed
        if fault.kind == "frozen":
            self._freeze(process, fault)
        if fault.kind.startswith("lost"):
            raise sqlite3.OperationalError("database is locked")

    def _aimed(self, changes: list[tuple[int, tuple[str, str]]]) -> str:
        # Once in a history, at the first batch that goes the way.
        if self._aim is None or all(edge != self._aim.edge for _, edge in changes):
            return ""
        fate, self._aim = self._aim.fate, None
        return fate

    def _freeze(self, process: Process, fault: Fault) -> None:
        freeze(process, fault)
        self._thaw_taken()

    def _thaw_taken(self) -> None:
        for process in self._workers.values():
            if process.thaw_after is not None:
                owned = "SELECT id FROM Bouncer_Batches WHERE owner LIKE ?"
                process.take_note({id_ for (id_,) in self._database.raw.execute(owned, (f"{process.name}:%",))})

    def _kill_all(self) -> None:
        for process in self._workers.values():
            process.kill()

    def _stop(self, process: Process) -> None:
        process.note_mishap()
        self._tell("is asked to stop")
        process.is_stopping = True
        self._loop.call_later(_GRACE_SECONDS, process.kill)
