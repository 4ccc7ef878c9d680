"""The gate that every request to Bouncer passes: circuit breaker, rate limit, count; shared by all workers."""

import logging
import random
from asyncio import sleep, to_thread
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.exc import DBAPIError

from bouncer import breaker
from bouncer.calls import CallNote, store_notes
from bouncer.database import read, write
from bouncer.dialects import database_now, insert_ignoring
from bouncer.errors import BouncerFlowsError, BreakerOpen
from bouncer.policy import Call
from bouncer.tables import RateLimitWindow

__all__ = ["Gate", "Limiter", "SharedGate", "requests_in_window"]

_log = logging.getLogger(__name__)
_Return = TypeVar("_Return")

BREAKER_PATIENCE_SECONDS = 90.0
"""How long a call waits at an open breaker before its caller is told that Bouncer is away."""


REALTIME = ":realtime"
"""What stands behind an account's name where its requests in real time are counted."""

_LONGEST_ACCOUNT = 50


class Limiter(Protocol):
    """Holds the rate limits, over all processes."""

    async def acquire(self, call: Call) -> None:
        """Waits until one more request of this kind may be sent."""


class Gate(Protocol):
    """What the client asks before each request, and tells after each call."""

    async def admit(self, call: Call) -> None:
        """Waits until the request may be sent, and counts it."""

    async def answered(self) -> None:
        """Bouncer gave an answer that makes sense, be it a refusal."""

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
        caller: A name for this caller, unique over all workers; the breaker's one probe is known by it.
    """

    def __init__(self, engine: Engine, account: str, limiter: Limiter, caller: str) -> None:
        self._engine = engine
        self._account = account
        self._limiter = limiter
        self._caller = caller
        self._suspect = False
        self._notes: list[CallNote] = []

    async def admit(self, call: Call) -> None:
        """Waits for the breaker and the limiter, then counts the request in ``Bouncer_Rate_Limit``.

        Raises:
            BreakerOpen: The breaker stayed open for BREAKER_PATIENCE_SECONDS.
        """
        waited = 0.0
        while True:
            pause = await to_thread(read, self._engine, breaker.seconds_closed_to, self._account, self._caller)
            if pause == 0:
                await self._limiter.acquire(call)
                if await self._write(lambda connection: self._count(connection, call)):
                    return
                pause = 1.0
            if waited >= BREAKER_PATIENCE_SECONDS:
                raise BreakerOpen(
                    "the circuit breaker is open: Bouncer has failed several calls in a row; run it again in a minute"
                )
            # The jitter keeps workers from asking for the probe in step.
            pause = min(pause, BREAKER_PATIENCE_SECONDS) + random.uniform(0, 1)  # noqa: S311  # not for secrets
            await sleep(pause)
            waited += pause

    async def answered(self) -> None:
        """Closes the breaker where it was not, and clears its count of failures."""
        if self._suspect:
            await self._write(lambda connection: breaker.record_answer(connection, self._account))
            self._suspect = False

    async def failed(self) -> None:
        """Counts a failure in a row."""
        await self._write(lambda connection: breaker.record_failure(connection, self._account))

    def note(self, note: CallNote) -> None:
        """Keeps the note until the next transaction: an answer, a paid upload's say, must not wait for statistics."""
        self._notes.append(note)

    async def store_notes(self) -> None:
        """Counts what is still noted; where the database is away, that is lost and nothing else."""
        if self._notes:
            try:
                await self._write(lambda _: None)
            except (BouncerFlowsError, DBAPIError) as error:
                _log.warning("%d calls are not counted: %s", len(self._notes), type(error).__name__)

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

    def _count(self, connection: Connection, call: Call) -> bool:
        state = breaker.enter(connection, self._account, self._caller)
        if state is breaker.Entry.REFUSED:
            return False
        self._suspect = state is breaker.Entry.SUSPECT
        # They have a limit of their own, so they are counted apart.
        account = f"{self._account}{REALTIME}"[:_LONGEST_ACCOUNT] if call is Call.VERIFY else self._account
        start = database_now(connection).replace(second=0, microsecond=0)
        counted = connection.execute(
            update(RateLimitWindow)
            .where(RateLimitWindow.account == account, RateLimitWindow.window_start_ts == start)
            .values(request_count=RateLimitWindow.request_count + 1)
        )
        if counted.rowcount == 0:
            window = {
                "account": account,
                "window_start_ts": start,
                "window_end_ts": start + timedelta(minutes=1),
                "request_count": 0,
            }
            connection.execute(insert_ignoring(connection, RateLimitWindow), window)
            return self._count(connection, call)
        return True


def requests_in_window(connection: Connection, account: str) -> int:
    """Requests that were sent in the present minute of the database's clock."""
    start = database_now(connection).replace(second=0, microsecond=0)
    count = connection.scalar(
        select(RateLimitWindow.request_count).where(
            RateLimitWindow.account == account, RateLimitWindow.window_start_ts == start
        )
    )
    return count or 0
