"""The judge: looks at the rows and at Bouncer's books after every step, and knows nothing of the code."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress

from tests.simulation.installation.ports import Settings
from tests.simulation.judge.diagram import EDGES, GONE, NEW, SELECT, state_of
from tests.simulation.judge.effects import failed_contacts, waiting_contacts
from tests.simulation.machine import processes
from tests.simulation.machine.processes import Process
from tests.simulation.plan import CONTACT_FAILED
from tests.simulation.service.books import Books, Customer, Order

__all__ = ["Judge"]

_Edge = tuple[str, str]

_LOST_SECONDS = 60.0
_SLOWEST_SECONDS_AN_ADDRESS = 0.036
_LONGEST_UPLOAD_SECONDS = 120.0
_LONGEST_CALL_SECONDS = 120.0
_MEMORY_SECONDS = 300.0
_MOST = {"uploads": 60, "realtime": 1_000}


class Judge:
    """Judges the steps of one history.

    Args:
        raw: The contacts database.
        books: Bouncer's.
        settings: The accounts' settings, as people change them.
        requests_a_minute: The ceiling of all requests of an account.
        broken: Told of what must not be.
        quiet_after: Says after when nothing goes wrong any more.

    Attributes:
        cap: Credits that all that is sent may cost, or None for any number.
        must_look: Accounts on which a person must look before anything more is sent with them.
        erased: Addresses that were erased, and are not wanted again, each with when.
    """

    def __init__(
        self,
        raw: sqlite3.Connection,
        books: Books,
        settings: Mapping[str, Settings],
        requests_a_minute: int,
        broken: Callable[[str], None],
        quiet_after: Callable[[], float],
    ) -> None:
        self._raw = raw
        self._books = books
        self._settings = settings
        self._holds: set[str] = set()
        self._resubmits: set[str] = set()
        self._lost: dict[int, int] = {}
        self._most_requests = requests_a_minute
        self._broken = broken
        self._quiet_after = quiet_after
        self._states: dict[int, str] = {}
        self._seen: dict[int, str] = {}
        self._asked: dict[int, int] = {}
        self._begun: dict[int, tuple[Process | None, float]] = {}
        self._begun_by: dict[asyncio.Task[object] | None, float] = {}
        self._most_in_flight: dict[str, list[tuple[float, int]]] = {}
        self._waiting: dict[str, asyncio.Event] = {}
        self.cap: int | None = None
        self.must_look: set[str] = set()
        self.erased: dict[str, float] = {}
        self._rounds: dict[Process | None, float] = {}
        self._paused: dict[str, str] = {}
        self._breakers: dict[str, str] = {}
        self._was_restored = False
        self.edges: Counter[tuple[_Edge, str]] = Counter()

    def note_limit(self, account: str, most_in_flight: int) -> None:
        """Notes how many batches of an account may be in flight from now on."""
        self._most_in_flight.setdefault(account, []).append((_now(), most_in_flight))
        if len(self._most_in_flight[account]) > 1:
            # What is changed is told by the change.
            self._holds.discard(account)
            self._resubmits.discard(account)
        elif self._settings[account].ambiguous_upload == "hold":
            self._holds.add(account)
        else:
            self._resubmits.add(account)

    def note_erased(self, address: str) -> None:
        """Notes that a person has erased an address, and looks whether it is gone."""
        self.erased[address] = _now()
        left = "SELECT EXISTS (SELECT 1 FROM Contacts_Global WHERE lower(email) = ?)"
        if self._raw.execute(left, (address,)).fetchone()[0]:
            self._broken(f"{address} is erased, and still there")

    def forget(self, made: float) -> None:
        """Takes the rows as they are, as after the restore of a backup that was made then."""
        self._states = {row[0]: state_of(row) for row in self._raw.execute(SELECT)}
        self._asked = self._addresses_asked()
        self._paused = self._pauses()
        self._breakers = self._breaker_states()
        self._was_restored = True
        self._begun.clear()
        self.erased.clear()
        # What had begun before the backup is known to it: it is declared as lost, and sent again.
        has_begun = "SELECT account FROM Bouncer_Batches WHERE realtime AND unanswered > 0"
        had_begun = {account for (account,) in self._raw.execute(has_begun)}
        for customer in self._books.customers.values():
            uploads, answers = customer.forget_since(made)
            if uploads or (answers and customer.name not in had_begun):
                self.must_look.add(customer.name)

    async def reached(self, state: str, patience: float) -> None:
        """Waits until a batch reaches a state, or until a contact has failed, or for so many seconds."""
        event = self._waiting.setdefault(state, asyncio.Event())
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), patience)

    def look(self) -> list[tuple[int, _Edge]]:
        """What the transaction that is about to be committed makes of the batches."""
        self._seen = {row[0]: state_of(row) for row in self._raw.execute(SELECT)}
        old = self._states
        changes = [(id_, (old.get(id_, NEW), state)) for id_, state in self._seen.items() if old.get(id_, NEW) != state]
        return changes + [(id_, (state, GONE)) for id_, state in old.items() if id_ not in self._seen]

    def committed(self, changes: list[tuple[int, _Edge]]) -> None:
        """The transaction took effect."""
        self._states = self._seen
        self._look_at_asked()
        self._look_at_pauses()
        self._look_at_breakers()
        if CONTACT_FAILED in self._waiting and failed_contacts(self._raw, None):
            self._waiting.pop(CONTACT_FAILED).set()
        for id_, edge in changes:
            if edge[0] == NEW:
                self._look_at_size(id_)
            if edge[1] in self._waiting:
                self._waiting.pop(edge[1]).set()
            if edge[0] == "uploading" and edge[1] in {"held", "to be sent again"}:
                self._look_at_lost(id_, held=edge[1] == "held")
            if edge[1] == "uploading":
                self._begun[id_] = processes.current(), _now()
                self._begun_by[asyncio.current_task()] = _now()
                if edge[0] != "held":
                    self._look_at_sent(id_)
            if edge not in EDGES:
                self._broken(f"batch {id_} went from {edge[0]} to {edge[1]}, a way that the diagram does not have")

    def count(self, changes: list[tuple[int, _Edge]], fate: str) -> None:
        """Counts the ways that batches went, each with what happened to the process just then."""
        for _, edge in changes:
            self.edges[edge, fate] += 1

    def _look_at_asked(self) -> None:
        # A round in real time begins without a change of state where one before it brought verdicts.
        asked = self._addresses_asked()
        for id_, addresses in asked.items():
            if addresses > self._asked.get(id_, 0):
                self._rounds[processes.current()] = _now()
                self._look_at_sent(id_)
        self._asked = asked

    def _addresses_asked(self) -> dict[int, int]:
        return dict(self._raw.execute("SELECT id, unanswered FROM Bouncer_Batches WHERE realtime AND unanswered > 0"))

    def _look_at_size(self, batch: int) -> None:
        # A part is less than what it is a part of, which may be of a time when a batch could have more.
        account, quantity, whole = self._raw.execute(
            "SELECT b.account, b.quantity, coalesce(w.quantity, 0)"
            " FROM Bouncer_Batches b LEFT JOIN Bouncer_Batches w ON w.id = b.split_from WHERE b.id = ?",
            (batch,),
        ).fetchone()
        most = max(self._settings[account].batch_size, whole - 1)
        if quantity > most:
            self._broken(f"batch {batch} is made of {quantity} addresses, and {most} are allowed")

    def _pauses(self) -> dict[str, str]:
        return dict(self._raw.execute("SELECT account, paused_kind FROM Bouncer_Accounts WHERE paused_ts IS NOT NULL"))

    def _look_at_pauses(self) -> None:
        paused = self._pauses()
        if paused == self._paused:
            return
        by_program = processes.current() is not None
        for account in paused.keys() | self._paused.keys():
            before, now = self._paused.get(account), paused.get(account)
            if before == now:
                continue
            # Who has paused it did not know of a restore: then that is what it is paused for.
            if by_program and before is not None and before != "out_of_credits" and now != "restored":
                self._broken(f"the pause of account {account} ({before}) ends, and nobody has ended it")
            short_at = self._books.customers[f"key-{account}"].short_at
            if now == "out_of_credits" and (short_at is None or short_at < _now() - _MEMORY_SECONDS):
                self._broken(f"account {account} pauses for lack of credits, and Bouncer did not say so")
            if now == "restored" and not self._was_restored:
                self._broken(f"account {account} pauses because of a restore, and there was none")
            if by_program and now == "person":
                self._broken(f"account {account} is paused in the name of a person")
        self._paused = paused

    def _breaker_states(self) -> dict[str, str]:
        return dict(self._raw.execute("SELECT account, breaker_state FROM Bouncer_Accounts"))

    def _look_at_breakers(self) -> None:
        breakers = self._breaker_states()
        if breakers != self._breakers and _now() > self._quiet_after() + _LONGEST_CALL_SECONDS:
            for account, state in breakers.items():
                if state == "open" and self._breakers.get(account) != "open":
                    self._broken(f"the circuit breaker of account {account} opens, and Bouncer answers all")
        self._breakers = breakers

    def look_at_cancelled(self, request: int, waited: set[int]) -> None:
        """Looks whether a request that a person has cancelled is that, and nothing that waited waits any more."""
        query = "SELECT bouncer_cancelled_ts IS NOT NULL FROM Requests WHERE request_id = ?"
        if not self._raw.execute(query, (request,)).fetchone()[0]:
            self._broken(f"request {request} was cancelled, and is not")
        if waiting := waited & waiting_contacts(self._raw, request):
            self._broken(f"request {request} was cancelled, and {len(waiting)} of its contacts wait")

    def late_chances(self, seconds: float) -> int:
        """Counts the second chances that are due for longer than so many seconds."""
        late = "SELECT count(*) FROM Bouncer_Second_Chances WHERE unixepoch(try_again_ts) < unixepoch() - ?"
        return self._number(late, seconds)

    def _look_at_lost(self, batch: int, *, held: bool) -> None:
        account, lost, cancelled = self._raw.execute(
            "SELECT account, ambiguous_uploads, (SELECT bouncer_cancelled_ts FROM Requests r"
            " WHERE r.request_id = b.request_id) FROM Bouncer_Batches b WHERE id = ?",
            (batch,),
        ).fetchone()
        # Of a cancelled request nothing is sent again, so that there is nothing to decide. An upload that was refused
        # after a person let it be sent again counts no further loss.
        if held and account in self._resubmits and self.cap is None:
            self._broken(f"batch {batch} is held, although account {account} sends lost uploads again")
        if not held and account in self._holds and cancelled is None and lost > self._lost.get(batch, 0):
            self._broken(f"batch {batch} is to be sent again, although account {account} holds lost uploads")
        began = self._begun.pop(batch, None)
        if began is not None and lost > self._lost.get(batch, 0):
            process, since = began
            if process is not None and process.troubled_at < since:
                self._broken(f"batch {batch} is taken for lost, and nothing happened to {process.name}, which sends it")
        self._lost[batch] = lost

    def _look_at_sent(self, batch: int) -> None:
        paused, cancelled = self._raw.execute(
            "SELECT (SELECT paused_ts FROM Bouncer_Accounts a WHERE a.account = b.account),"
            " (SELECT bouncer_cancelled_ts FROM Requests r WHERE r.request_id = b.request_id)"
            " FROM Bouncer_Batches b WHERE b.id = ?",
            (batch,),
        ).fetchone()
        if paused is not None:
            self._broken(f"an upload of batch {batch} begins although its account is paused since {paused}")
        if cancelled is not None:
            self._broken(f"an upload of batch {batch} begins although its request is cancelled since {cancelled}")

    def called(self, account: str, kind: str, in_a_minute: int) -> None:
        """A call reached Bouncer."""
        most = _MOST.get(kind, self._most_requests)
        if kind == "uploads":
            most = min(most, self._most_requests)
        if in_a_minute > most:
            self._broken(f"{in_a_minute} requests ({kind}) with account {account} in 60 s, {most} are allowed")
        self._look_at_cap()

    def accepted(self, customer: Customer, order: Order) -> None:
        """Bouncer took a batch."""
        # Who writes down that an upload begins is who makes it.
        order.begun = self._begun_by.pop(asyncio.current_task(), order.created)
        self._look_at_cap()
        if customer.name in self.must_look:
            self._broken(f"account {customer.name} uploads after a restore, before a person has looked")
        for address in order.addresses:
            if order.begun > self.erased.get(address.lower(), order.begun):
                self._broken(f"{address} is sent, and was erased before")
        limits = self._most_in_flight[customer.name]
        now = _now()
        most = max(
            limit
            for number, (_, limit) in enumerate(limits)
            if number + 1 == len(limits) or limits[number + 1][0] > now - _LONGEST_UPLOAD_SECONDS
        )
        counted = [one for one in customer.in_flight if one is order or self._counts(one, most)]
        if len(counted) > most:
            self._broken(f"{len(counted)} batches of account {customer.name} in flight, {most} are allowed")

    def asked(self, customer: Customer, address: str) -> None:
        """Bouncer was asked for an address in real time."""
        if customer.name in self.must_look:
            self._broken(f"account {customer.name} asks in real time after a restore, before a person has looked")
        # Who writes down that a round begins is who asks, however much later.
        if self._rounds.get(processes.current(), 0.0) > self.erased.get(address.lower(), _now()):
            self._broken(f"{address} is asked for in real time, and was erased before")

    def _look_at_cap(self) -> None:
        if self.cap is None:
            return
        committed = sum(customer.committed for customer in self._books.customers.values())
        if committed > self.cap:
            self._broken(f"{committed} credits are committed, and the request may cost {self.cap}")

    def _counts(self, order: Order, most: int) -> bool:
        # Whether Bouncer has one whose answer was lost nobody can know; it counts for as long as Bouncer may need.
        longest = _LOST_SECONDS + len(order.addresses) * most * _SLOWEST_SECONDS_AN_ADDRESS
        if order.is_forgotten:
            return False
        known = "SELECT EXISTS (SELECT 1 FROM Bouncer_Batches WHERE batch_id = ?)"
        is_known = bool(self._raw.execute(known, (order.id,)).fetchone()[0])
        return is_known or order.created > _now() - longest

    def is_settled(self) -> bool:
        """True if nothing is left to do."""
        return not self.left()

    def left(self) -> str:
        """Says what is left to do; empty where nothing is."""
        waiting = self._number("SELECT count(*) FROM Bouncer_Queue WHERE status IN ('queued', 'assigned')")
        open_ = self._number("SELECT count(*) FROM Bouncer_Batches WHERE status NOT IN ('completed', 'failed')")
        later = self._number("SELECT count(*) FROM Bouncer_Second_Chances WHERE try_again_ts IS NOT NULL")
        requests = self._number(
            "SELECT count(*) FROM Requests WHERE bouncer_announced_ts IS NULL"
            " AND EXISTS (SELECT 1 FROM Bouncer_Queue WHERE Bouncer_Queue.request_id = Requests.request_id)"
        )
        parts: Mapping[str, int] = {
            "contacts that wait": waiting,
            "batches": open_,
            "second chances": later,
            "requests": requests,
        }
        return ", ".join(f"{count} {what}" for what, count in parts.items() if count)

    def _number(self, query: str, *values: object) -> int:
        return int(self._raw.execute(query, values).fetchone()[0])


def _now() -> float:
    return asyncio.get_running_loop().time()
