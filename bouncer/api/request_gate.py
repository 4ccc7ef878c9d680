"""The gate that every request to Bouncer passes: circuit breaker, rate limit, count; shared by all workers."""

import logging
import random
from asyncio import to_thread
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from time import monotonic
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Engine, bindparam, func, select, update
from sqlalchemy.exc import DBAPIError

from bouncer.accounts import circuit_breaker
from bouncer.accounts.call_statistics import Call, CallNote, store_notes
from bouncer.errors import BouncerFlowsError, BreakerOpen, HourIsFull
from bouncer.plurals import counted
from bouncer.stopping import sleep_unless_stopping
from bouncer.storage.dialects import database_now, insert_ignoring
from bouncer.storage.engine import write
from bouncer.storage.tables import RateLimitWindow
from bouncer.storage.transactions import reading

__all__ = ["Gate", "Limiter", "SharedGate", "Ticket", "realtime_within_hour", "requests_in_window"]

_log = logging.getLogger(__name__)
_COUNT = (
    update(RateLimitWindow)
    .where(
        RateLimitWindow.account == bindparam("of_account"), RateLimitWindow.window_start_ts == bindparam("of_minute")
    )
    .values(request_count=RateLimitWindow.request_count + 1)
)
_Return = TypeVar("_Return")

BREAKER_PATIENCE_SECONDS = 90.0
"""Seconds that a call waits at an open breaker before its caller learns that Bouncer is away."""

TOKEN_SECONDS = 2.0
"""Seconds for which a token is good after it was taken. The bucket fills up meanwhile: requests that the database held
up would else be sent beside a bucket that is full again."""

REALTIME = ":realtime"
"""Suffix of the account's name under which its requests in real time are counted."""

_LONGEST_ACCOUNT = 50


class Limiter(Protocol):
    """Holds the rate limits, over all processes."""

    async def acquire(self, call: Call) -> None:
        """Waits until one more request of this kind may be sent."""


@dataclass(frozen=True)
class Ticket:
    """Leave to send one request.

    Attributes:
        request: A name for the request, unique over all workers.
        token_taken: When its token was taken, by the process's own clock.
        suspect: Whether the breaker wants to know what becomes of it.
    """

    call: Call
    request: str
    token_taken: float
    suspect: bool = False


class Gate(Protocol):
    """Port that the client asks before each request and informs after it.

    An error in informing it never reaches the caller.
    """

    async def admit(self, call: Call) -> Ticket:
        """Waits until the request may be sent, and counts it."""

    async def renew(self, ticket: Ticket) -> None:
        """Asked last of all before the first byte is sent: waits for another token where too much time has passed."""

    async def answered(self, ticket: Ticket) -> None:
        """Bouncer gave an answer that makes sense, be it a refusal."""

    async def unanswered(self, ticket: Ticket, *, failed: bool) -> None:
        """The request failed as requests do while Bouncer is away, or ended in a way that tells nothing of that."""

    async def failed(self) -> None:
        """A call failed for good after all its attempts, as failures of the service do."""

    def note(self, note: CallNote) -> None:
        """A request was sent and is over; this must cost the caller no time."""

    async def store_notes(self) -> None:
        """The caller is about to go; what was noted must not go with it."""


class SharedGate:
    """The gate over one account's row in the database and a limiter that all processes share.

    Args:
        engine: Of the contacts database.
        account: The name of the account block.
        limiter: Holds the rate limits.
        caller: A name for this caller, unique over all workers; its requests are numbered.
        realtime_per_hour: The most addresses in real time in any hour, over all workers; None for any number.
    """

    def __init__(
        self, engine: Engine, account: str, limiter: Limiter, caller: str, *, realtime_per_hour: int | None = None
    ) -> None:
        self._engine = engine
        self._realtime_per_hour = realtime_per_hour
        self._account = account
        self._limiter = limiter
        self._caller = caller
        self._numbers = count(1)
        self._notes: list[CallNote] = []

    async def admit(self, call: Call) -> Ticket:
        """Waits for the breaker and the limiter, then counts the request in ``Bouncer_Rate_Limit``.

        Raises:
            BreakerOpen: The breaker stayed open for BREAKER_PATIENCE_SECONDS.
            HourIsFull: An address in real time would be one too many in this hour.
            Stopped: The process was asked to stop.
        """
        request = f"{self._caller}:{next(self._numbers)}"
        waited = 0.0
        while True:
            pause = await to_thread(circuit_breaker.seconds_closed, self._engine, self._account)
            if pause == 0:
                await self._limiter.acquire(call)
                taken = monotonic()
                entry = await self._write(lambda connection: self._enter(connection, call, request))
                if entry is not circuit_breaker.Entry.REFUSED:
                    return Ticket(call, request, taken, suspect=entry is circuit_breaker.Entry.SUSPECT)
                pause = 1.0
            if waited >= BREAKER_PATIENCE_SECONDS:
                raise BreakerOpen(
                    "the circuit breaker is open: Bouncer has failed several calls in a row; run it again in a minute"
                )
            # The jitter keeps workers from asking for the probe in step.
            pause = min(pause, BREAKER_PATIENCE_SECONDS) + random.uniform(0, 1)  # noqa: S311  # not for secrets
            await sleep_unless_stopping(pause)
            waited += pause

    async def renew(self, ticket: Ticket) -> None:
        """Takes another token where the ticket's was taken more than TOKEN_SECONDS ago.

        Raises:
            Stopped: The process was asked to stop.
        """
        if monotonic() - ticket.token_taken > TOKEN_SECONDS:
            await self._limiter.acquire(ticket.call)

    async def answered(self, ticket: Ticket) -> None:
        """Closes the breaker where it was not, and clears its count of failures."""
        if ticket.suspect:
            await self._tell(lambda connection: circuit_breaker.record_answer(connection, self._account))

    async def unanswered(self, ticket: Ticket, *, failed: bool) -> None:
        """Opens the breaker again where the request was its probe and failed, or lets another one be the probe."""
        if ticket.suspect:
            end = circuit_breaker.fail_probe if failed else circuit_breaker.give_probe_back
            await self._tell(lambda connection: end(connection, self._account, ticket.request))

    async def failed(self) -> None:
        """Counts a failure in a row."""
        await self._tell(lambda connection: circuit_breaker.record_failure(connection, self._account))

    def note(self, note: CallNote) -> None:
        """Keeps the note until the next transaction: an answer, a paid upload's say, must not wait for statistics."""
        self._notes.append(note)

    async def store_notes(self) -> None:
        """Counts what is still noted; where the database is away, that is lost and nothing else."""
        if self._notes:
            try:
                await self._write(lambda _: None)
            except (BouncerFlowsError, DBAPIError) as error:
                _log.warning("%s not counted: %s", counted(len(self._notes), "call"), type(error).__name__)

    async def _tell(self, work: Callable[[Connection], None]) -> None:
        # What the caller has in hand, the id of a paid upload say, is worth more than what the breaker knows.
        try:
            await self._write(work)
        except (BouncerFlowsError, DBAPIError) as error:
            _log.warning("the circuit breaker does not hear of a call: %s", type(error).__name__)

    async def _write(self, work: Callable[[Connection], _Return]) -> _Return:
        notes, self._notes = self._notes, []
        try:
            return await to_thread(write, self._engine, self._with_notes, work, notes)
        except BaseException:
            self._notes += notes
            raise

    def _with_notes(
        self, connection: Connection, work: Callable[[Connection], _Return], notes: Sequence[CallNote]
    ) -> _Return:
        done = work(connection)
        if notes:
            store_notes(connection, self._account, notes)
        return done

    def _enter(self, connection: Connection, call: Call, request: str) -> circuit_breaker.Entry:
        entry = circuit_breaker.enter(connection, self._account, request)
        if entry is not circuit_breaker.Entry.REFUSED:
            self._count(connection, call)
            # Counted first: the row of this minute is locked then, and no other worker counts beside it.
            most = self._realtime_per_hour
            if call is Call.VERIFY and most is not None and realtime_within_hour(connection, self._account) > most:
                raise HourIsFull
        return entry

    def _count(self, connection: Connection, call: Call) -> None:
        # They have a limit of their own, so they are counted apart.
        account = _realtime_account(self._account) if call is Call.VERIFY else self._account
        start = database_now(connection).replace(second=0, microsecond=0)
        counted = connection.execute(_COUNT, {"of_account": account, "of_minute": start})
        if counted.rowcount == 0:
            window = {
                "account": account,
                "window_start_ts": start,
                "window_end_ts": start + timedelta(minutes=1),
                "request_count": 0,
            }
            connection.execute(insert_ignoring(connection, RateLimitWindow), window)
            self._count(connection, call)


@reading
def realtime_within_hour(connection: Connection, account: str) -> int:
    """Counts the addresses that were sent in real time within the last hour, up to a minute more."""
    since = database_now(connection).replace(second=0, microsecond=0) - timedelta(minutes=60)
    sent = connection.scalar(
        select(func.sum(RateLimitWindow.request_count)).where(
            RateLimitWindow.account == _realtime_account(account), RateLimitWindow.window_start_ts >= since
        )
    )
    return int(sent or 0)


def _realtime_account(account: str) -> str:
    return f"{account}{REALTIME}"[:_LONGEST_ACCOUNT]


def requests_in_window(connection: Connection, account: str) -> int:
    """Requests that were sent in the present minute of the database's clock."""
    start = database_now(connection).replace(second=0, microsecond=0)
    count = connection.scalar(
        select(RateLimitWindow.request_count).where(
            RateLimitWindow.account == account, RateLimitWindow.window_start_ts == start
        )
    )
    return count or 0
