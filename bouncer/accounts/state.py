"""Pause and credits of an account, shared by all workers; the circuit breaker has its own module."""

import enum
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, or_, select, update

from bouncer.accounts import circuit_breaker
from bouncer.errors import InputRefused
from bouncer.safe_text import clean_message
from bouncer.storage import dialects
from bouncer.storage.dialects import age_seconds
from bouncer.storage.tables import Account
from bouncer.storage.transactions import reading, writing

__all__ = [
    "AccountState",
    "PauseKind",
    "credits_age_seconds",
    "ensure_row",
    "known_or_all",
    "pause",
    "read_state",
    "read_states",
    "record_credits",
    "resume",
]


class PauseKind(enum.StrEnum):
    """The kind of a pause, which decides what ends it; its reason is for people alone."""

    PERSON = "person"
    """Somebody wants it, and somebody ends it."""

    OUT_OF_CREDITS = "out_of_credits"
    """Ends by itself once there are credits again."""

    RESTORED = "restored"
    """The contacts database is older than its uploads; a person looks, and ends it."""


@dataclass(frozen=True)
class AccountState:
    """The shared state of one account.

    Attributes:
        paused_ts: Since when no uploads begin, or None.
        breaker_state: ``closed``, ``open`` or ``half-open``.
        credits: As Bouncer last reported, or None.
    """

    account: str
    paused_ts: datetime | None = None
    paused_by: str | None = None
    paused_reason: str | None = None
    paused_kind: PauseKind | None = None
    breaker_state: str = circuit_breaker.State.CLOSED
    breaker_failures: int = 0
    credits: int | None = None
    credits_ts: datetime | None = None

    @property
    def waits_for_credits(self) -> bool:
        """True if the pause ends by itself once there are credits again."""
        return self.paused_kind is PauseKind.OUT_OF_CREDITS


@writing
def ensure_row(connection: Connection, account: str) -> None:
    """Makes the row of an account that has none yet."""
    dialects.ensure_row(connection, Account.account, account)


@reading
def known_or_all(connection: Connection, account: str | None) -> list[str]:
    """The account of this name, or all that setup or a run has met; ``default`` may be named before either.

    Raises:
        InputRefused: There is no such account.
    """
    known = sorted({"default", *connection.scalars(select(Account.account))})
    if account is None:
        return known
    if account not in known:
        raise InputRefused(
            f"there is no account {account}; there are: {', '.join(known)}. bouncer-flows setup takes up new blocks"
        )
    return [account]


_STATES = select(
    Account.account,
    Account.paused_ts,
    Account.paused_by,
    Account.paused_reason,
    Account.paused_kind,
    Account.breaker_state,
    Account.breaker_failures,
    Account.credits,
    Account.credits_ts,
).where(Account.account.in_(bindparam("accounts", expanding=True)))


@reading
def read_state(connection: Connection, account: str) -> AccountState:
    """Reads the shared state of an account; an account that was never used is not paused."""
    return read_states(connection, [account])[account]


def read_states(connection: Connection, accounts: Collection[str]) -> dict[str, AccountState]:
    """Reads the shared states of some accounts, by name; like ``read_state``, in one statement."""
    rows = connection.execute(_STATES, {"accounts": accounts})
    states = {
        row.account: AccountState(
            row.account,
            row.paused_ts,
            row.paused_by,
            row.paused_reason,
            None if row.paused_kind is None else PauseKind(row.paused_kind),
            row.breaker_state,
            row.breaker_failures,
            row.credits,
            row.credits_ts,
        )
        for row in rows
    }
    return {account: states.get(account, AccountState(account)) for account in accounts}


@writing
def pause(connection: Connection, account: str, *, by: str, reason: str, kind: PauseKind = PauseKind.PERSON) -> bool:
    """Lets no uploads begin; batches in flight go on to their end.

    Args:
        connection: In a transaction that writes.
        account: The account.
        by: Who wants it.
        reason: Why, for people to read; no program decides by it.
        kind: What ends it.

    Returns:
        Whether it was not paused before, or only until there are credits again.
    """
    ensure_row(connection, account)
    # A pause that a person wants must not end by itself once there are credits.
    replaceable = [] if kind is PauseKind.OUT_OF_CREDITS else [Account.paused_kind == PauseKind.OUT_OF_CREDITS]
    changed = connection.execute(
        update(Account)
        .where(Account.account == account, or_(Account.paused_ts.is_(None), *replaceable))
        .values(
            paused_ts=func.current_timestamp(),
            paused_by=by[:100],
            paused_reason=clean_message(reason)[:255],
            paused_kind=kind,
        )
    )
    return changed.rowcount == 1


@writing
def resume(connection: Connection, account: str, *, only_kind: PauseKind | None = None) -> bool:
    """Lets uploads begin again.

    Args:
        connection: In a transaction that writes.
        account: The account.
        only_kind: Only a pause of this kind.

    Returns:
        Whether it was paused.
    """
    statement = update(Account).where(Account.account == account, Account.paused_ts.is_not(None))
    if only_kind is not None:
        statement = statement.where(Account.paused_kind == only_kind)
    changed = connection.execute(statement.values(paused_ts=None, paused_by=None, paused_reason=None, paused_kind=None))
    return changed.rowcount == 1


@writing
def record_credits(connection: Connection, account: str, credits_left: int) -> None:
    """Writes down what Bouncer reported of the account's credits."""
    ensure_row(connection, account)
    connection.execute(
        update(Account)
        .where(Account.account == account)
        .values(credits=credits_left, credits_ts=func.current_timestamp())
    )


@reading
def credits_age_seconds(connection: Connection, account: str) -> float | None:
    """Seconds since Bouncer last reported the account's credits, by the database's clock; None where it never has."""
    age = connection.scalar(select(age_seconds(Account.credits_ts)).where(Account.account == account))
    return None if age is None else float(age)
