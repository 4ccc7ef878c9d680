"""The books of a simulated Bouncer: batches, credits, and what was charged for which address."""

import asyncio
import random
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tests.simulation.machine.processes import living_in
from tests.simulation.service.verdicts import Answer, answer_on

__all__ = ["Books", "Customer", "Order"]

_STANDS_SECONDS = 300.0


@dataclass(eq=False)
class Order:
    """A batch at Bouncer.

    Attributes:
        begun: When the installation wrote down that it begins the upload.
        is_deleted: Whether it is not there any more, because somebody deleted it or Bouncer lost it.
        is_removed: Whether Bouncer removes its results before anybody fetches them.
        is_forgotten: Whether the database was restored to before its upload begun, so that nobody can know of it.
        stuck_at: After how many addresses it stands still until it is finished, or for long; None for never.
        callback: Where to call when it is completed, or None.
        charged: What it cost, once it is completed.
        answers: On the addresses that were verified.
    """

    id: str
    addresses: list[str]
    created: float
    callback: str | None
    stuck_at: int | None
    begun: float
    started: float | None = None
    completed: float | None = None
    processed: int = 0
    is_finishing: bool = False
    is_deleted: bool = False
    is_removed: bool = False
    is_forgotten: bool = False
    charged: int = 0
    answers: list[Answer] = field(default_factory=list)
    finish: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def status(self) -> str:
        """As Bouncer tells it."""
        if self.completed is not None:
            return "completed"
        return "queued" if self.started is None else "processing"

    def vanish(self) -> None:
        """Lets it be there no more, and gets out of the way of those behind it."""
        self.is_deleted = self.is_finishing = True
        self.finish.set()


class Customer:
    """One account at Bouncer, by its key.

    Args:
        name: The account.
        credits_left: What it can pay for.
        seconds_an_address: How long an address takes.
        in_parallel: Whether its batches run side by side.
        ahead: For how long a list that was sent by other means runs first, in seconds.
        called: Told of each completed batch that has a callback.
        chance: What Bouncer does by chance.

    Attributes:
        short_at: When it last had too few credits for what it asked for, or None.
    """

    def __init__(
        self,
        name: str,
        credits_left: int,
        *,
        seconds_an_address: float,
        in_parallel: bool,
        ahead: float,
        called: Callable[[Order], None],
        chance: random.Random,
    ) -> None:
        self.name = name
        self.credits = credits_left
        self.orders: dict[str, Order] = {}
        self.realtime: list[tuple[float, Answer]] = []
        self.verifications: Counter[str] = Counter()
        self.short_at: float | None = None
        self._seconds = seconds_an_address
        self._in_parallel = in_parallel
        self._called = called
        self._chance = chance
        self._ahead = ahead
        self._line = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> list[Order]:
        """The batches that are not completed, and not lost."""
        return [order for order in self.orders.values() if order.completed is None and not order.is_deleted]

    def take(self, addresses: list[str], callback: str | None, *, stuck_at: int | None) -> Order:
        """Takes a batch, and holds a credit for each address."""
        order = Order(f"{self._chance.getrandbits(96):024x}", addresses, _now(), callback, stuck_at, begun=_now())
        self.orders[order.id] = order
        self.credits -= len(addresses)
        with living_in(None):
            # Bouncer goes on, whatever becomes of whoever sent it.
            task = asyncio.get_running_loop().create_task(self._run(order))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return order

    def lose(self, order: Order, seconds: float) -> None:
        """Loses a batch after a while; what was verified by then is charged."""
        with living_in(None):
            asyncio.get_running_loop().call_later(seconds, order.vanish)

    def verify(self, address: str) -> Answer:
        """Verifies one address in real time."""
        answer = self._verified(address)
        self.credits -= answer.cost
        self.realtime.append((_now(), answer))
        return answer

    async def _run(self, order: Order) -> None:
        if self._in_parallel:
            await asyncio.sleep(self._chance.uniform(0.1, 3.0))
            await self._process(order)
            return
        async with self._line:
            await asyncio.sleep(max(self._chance.uniform(0.0, 0.5), self._ahead - _now()))
            await self._process(order)

    async def _process(self, order: Order) -> None:
        order.started = _now()
        for address in order.addresses:
            if order.processed == order.stuck_at:
                await self._stand(order)
            if order.is_finishing:
                break
            await asyncio.sleep(self._seconds)
            order.answers.append(self._verified(address))
            order.processed += 1
        order.completed = _now()
        order.charged = sum(answer.cost for answer in order.answers)
        self.credits += len(order.addresses) - order.charged
        if order.callback is not None and not order.is_deleted:
            self._called(order)

    async def _stand(self, order: Order) -> None:
        # Where nobody knows of it, nobody finishes it, and all behind it would wait for ever.
        with suppress(TimeoutError):
            await asyncio.wait_for(order.finish.wait(), _STANDS_SECONDS)

    def _verified(self, address: str) -> Answer:
        self.verifications[address.lower()] += 1
        return answer_on(address, self.verifications[address.lower()])

    @property
    def charges(self) -> Counter[str]:
        """How often each address was charged, but for what was forgotten."""
        answers = [one for order in self.orders.values() if not order.is_forgotten for one in order.answers]
        answers += [one for _, one in self.realtime]
        counted: Counter[str] = Counter()
        for answer in answers:
            counted[answer.address.lower()] += answer.cost
        return counted

    @property
    def realtime_billed(self) -> int:
        """What real time has cost."""
        return sum(answer.cost for _, answer in self.realtime)

    @property
    def committed(self) -> int:
        """Credits that it has cost, and that those under way may cost."""
        orders = (len(one.addresses) if one.completed is None else one.charged for one in self.orders.values())
        return sum(orders) + self.realtime_billed

    @property
    def sent(self) -> set[str]:
        """All addresses that it was ever sent."""
        in_batches = {address.lower() for order in self.orders.values() for address in order.addresses}
        return in_batches | {answer.address.lower() for _, answer in self.realtime}

    def forget_since(self, moment: float) -> tuple[bool, bool]:
        """Notes that the installation knows nothing of what it began to send since.

        Returns:
            Whether there is a batch, and whether there is an answer in real time.
        """
        since = [order for order in self.orders.values() if order.begun > moment]
        for order in since:
            order.is_forgotten = True
        asked = [one for one in self.realtime if one[0] > moment]
        self.realtime = [one for one in self.realtime if one[0] <= moment]
        return bool(since), bool(asked)


@dataclass(eq=False)
class Books:
    """All that Bouncer knows: its customers, and when which calls came.

    Attributes:
        calls: The moments of the calls of each customer, by kind: ``api``, ``uploads``, ``realtime``.
    """

    customers: dict[str, Customer] = field(default_factory=dict)
    calls: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def note_call(self, customer: str, kind: str, arrival: float) -> int:
        """Writes a call down that has arrived by now, and counts those of its kind in any 60 seconds with it."""
        times = self.calls.setdefault((customer, kind), [])
        insort(times, arrival)
        # One by a process that stood still meanwhile belongs before others that are here already.
        del times[: bisect_right(times, arrival - 120.0)]
        firsts = range(bisect_right(times, arrival - 60.0), bisect_right(times, arrival))
        return max(bisect_left(times, times[first] + 60.0) - first for first in firsts)


def _now() -> float:
    return asyncio.get_running_loop().time()
