"""The circuit breaker of an account, kept in its row of ``Bouncer_Accounts`` so that all workers share it.

Closed: requests pass. Five failed calls in a row, from whichever workers, open it: no requests for 60 s. Then exactly
one request wins the compare-and-set to half-open and is the probe; its answer closes the breaker, its failure opens it
again. One that was not sent after all lets the next one be the probe; a probe that died is replaced after a minute.
"""

import enum

from sqlalchemy import Connection, and_, bindparam, func, or_, select, update

from bouncer.storage.dialects import age_seconds, insert_ignoring
from bouncer.storage.tables import Account
from bouncer.storage.transactions import reading

__all__ = [
    "FAILURES_TO_OPEN",
    "OPEN_SECONDS",
    "Entry",
    "State",
    "enter",
    "fail_probe",
    "give_probe_back",
    "record_answer",
    "record_failure",
    "seconds_closed",
]

FAILURES_TO_OPEN = 5
OPEN_SECONDS = 60

# Made once: every request asks twice.
_BREAKER = select(
    Account.breaker_state,
    Account.breaker_failures,
    Account.breaker_probe,
    age_seconds(Account.breaker_changed_ts).label("age"),
).where(Account.account == bindparam("account"))


class State(enum.StrEnum):
    """The three states of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Entry(enum.Enum):
    """Outcome of asking to send a request."""

    PASSED = "passed"
    SUSPECT = "passed, and its answer clears earlier failures"
    REFUSED = "refused"


@reading
def seconds_closed(connection: Connection, account: str) -> float:
    """Seconds until a request should ask to enter; 0 where it may ask now."""
    row = connection.execute(_BREAKER, {"account": account}).one_or_none()
    if row is None or row.breaker_state == State.CLOSED:
        return 0
    if row.breaker_state == State.HALF_OPEN and row.breaker_probe is None:
        return 0
    return max(0.0, OPEN_SECONDS - float(row.age or 0))


def enter(connection: Connection, account: str, request: str) -> Entry:
    """Lets a request pass, or makes it the one probe by compare-and-set, or refuses it.

    Safe to run twice for one request.

    Args:
        connection: In a transaction that writes.
        account: The account.
        request: A name for the request, unique over all workers.
    """
    row = connection.execute(_BREAKER, {"account": account}).one_or_none()
    if row is None:
        connection.execute(insert_ignoring(connection, Account), {"account": account})
        return Entry.PASSED
    if row.breaker_state == State.CLOSED:
        return Entry.SUSPECT if row.breaker_failures else Entry.PASSED
    if row.breaker_state == State.HALF_OPEN and row.breaker_probe == request:
        return Entry.SUSPECT
    # Whoever changes the row first makes its age 0, so that nobody else's condition holds any more.
    won = connection.execute(
        update(Account)
        .where(
            Account.account == account,
            Account.breaker_state != State.CLOSED,
            or_(
                age_seconds(Account.breaker_changed_ts) >= OPEN_SECONDS,
                and_(Account.breaker_state == State.HALF_OPEN, Account.breaker_probe.is_(None)),
            ),
        )
        .values(breaker_state=State.HALF_OPEN, breaker_probe=request, breaker_changed_ts=func.current_timestamp())
    )
    return Entry.SUSPECT if won.rowcount == 1 else Entry.REFUSED


def record_answer(connection: Connection, account: str) -> None:
    """Closes the breaker and forgets earlier failures: Bouncer is there."""
    connection.execute(
        update(Account)
        .where(Account.account == account)
        .values(
            breaker_state=State.CLOSED,
            breaker_failures=0,
            breaker_probe=None,
            breaker_changed_ts=func.current_timestamp(),
        )
    )


def record_failure(connection: Connection, account: str) -> None:
    """Counts a failure in a row, and opens the breaker at the fifth, or at once where it was half-open."""
    row = connection.execute(
        select(Account.breaker_state, Account.breaker_failures).where(Account.account == account).with_for_update()
    ).one()
    failures = row.breaker_failures + 1
    opens = row.breaker_state == State.HALF_OPEN or (row.breaker_state == State.CLOSED and failures >= FAILURES_TO_OPEN)
    values: dict[str, object] = {"breaker_failures": failures}
    if opens:
        values |= {
            "breaker_state": State.OPEN,
            "breaker_probe": None,
            "breaker_changed_ts": func.current_timestamp(),
        }
    connection.execute(update(Account).where(Account.account == account).values(values))


def fail_probe(connection: Connection, account: str, request: str) -> None:
    """Opens the breaker again where this request was the probe: Bouncer is still away."""
    _end_probe(connection, account, request, state=State.OPEN)


def give_probe_back(connection: Connection, account: str, request: str) -> None:
    """Lets the next request be the probe where this one was it: nobody knows whether Bouncer is there."""
    _end_probe(connection, account, request, state=State.HALF_OPEN)


def _end_probe(connection: Connection, account: str, request: str, *, state: State) -> None:
    connection.execute(
        update(Account)
        .where(Account.account == account, Account.breaker_state == State.HALF_OPEN, Account.breaker_probe == request)
        .values(breaker_state=state, breaker_probe=None, breaker_changed_ts=func.current_timestamp())
    )
