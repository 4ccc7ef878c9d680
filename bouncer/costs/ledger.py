"""The ledger: what each batch and request cost by Bouncer's own count, beside what its verdicts suggest."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, TextIO

from sqlalchemy import ColumnElement, Connection, Engine, Row, case, func, or_, select

from bouncer.batches.state import SETTLED, is_in, state_of, was_accepted
from bouncer.errors import SettingRefused
from bouncer.files.csv.cells import harmless
from bouncer.requests.counting import maybe_paid_twice
from bouncer.storage.tables import Batch, Request, User
from bouncer.storage.transactions import reading

__all__ = ["BATCH_COLUMNS", "Cost", "Ledger", "Month", "take_ledger", "write_batches"]

BATCH_COLUMNS = (
    "completed_at",
    "user_id",
    "user",
    "request_id",
    "request",
    "batch",
    "bouncer_batch_id",
    "account",
    "kind",
    "outcome",
    "addresses",
    "expected_credits",
    "charged_credits",
    "difference",
    "maybe_paid_twice",
)
"""The header of the ledger as a CSV file."""

_CHUNK_ROWS = 5_000
_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")

# Real-time answers tell no credits; what the verdicts suggest is the best that is known of them.
_TELLS = Batch.credits.is_not(None)


@dataclass(frozen=True)
class Month:
    """A month by the calendar, in UTC."""

    year: int
    number: int

    @classmethod
    def of(cls, text: str) -> "Month":
        """Reads ``YYYY-MM``.

        Raises:
            SettingRefused: It is no month.
        """
        match = _MONTH.fullmatch(text)
        if match is None or not 1970 <= int(match[1]) <= 2100:
            raise SettingRefused(f"{text} is not a month; write it as 2026-05")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def before(cls, moment: datetime) -> "Month":
        """The month before the one in which the moment lies."""
        year, number = (moment.year, moment.month - 1) if moment.month > 1 else (moment.year - 1, 12)
        return cls(year, number)

    @property
    def bounds(self) -> tuple[datetime, datetime]:
        """Its first moment, and that of the next month."""
        year, number = (self.year, self.number + 1) if self.number < 12 else (self.year + 1, 1)
        return datetime(self.year, self.number, 1), datetime(year, number, 1)  # noqa: DTZ001  # as the columns are

    def __str__(self) -> str:
        return f"{self.year}-{self.number:02}"


@dataclass(frozen=True)
class Cost:
    """Cost of a set of batches.

    Attributes:
        batches: Batches that were settled.
        addresses: Addresses in them.
        expected: Credits that the verdicts suggest: one for each that is not unknown.
        charged: Credits that Bouncer charged, by its own count.
        untold: Credits expected of batches of which Bouncer reported no credits; in ``expected``, not in ``charged``.
        maybe_paid_twice: Addresses in uploads whose answer was lost, in batches that Bouncer lost, and paid for without
            a verdict, sent again.
        user_id: Whose, or None for all together.
        user: The user's address, for files and terminals only.
        request_id: Of which request, or None for all of the user.
        request: Its name.
    """

    batches: int = 0
    addresses: int = 0
    expected: int = 0
    charged: int = 0
    untold: int = 0
    maybe_paid_twice: int = 0
    user_id: int | None = None
    user: str | None = None
    request_id: int | None = None
    request: str | None = None

    @property
    def difference(self) -> int:
        """Credits charged beyond those expected, where Bouncer reported them; negative where it charged fewer."""
        return self.charged - (self.expected - self.untold)

    def __add__(self, other: "Cost") -> "Cost":
        """Both together, of nobody in particular."""
        return Cost(
            *(
                getattr(self, name) + getattr(other, name)
                for name in ("batches", "addresses", "expected", "charged", "untold", "maybe_paid_twice")
            )
        )


@dataclass(frozen=True)
class Ledger:
    """Payments in a period.

    Attributes:
        month: The month, or None for ever.
        total: All together.
        users: By user, dearest first.
        requests: By request, dearest first.
    """

    month: str | None
    total: Cost
    users: tuple[Cost, ...]
    requests: tuple[Cost, ...]


@reading
def take_ledger(connection: Connection, month: Month | None = None) -> Ledger:
    """Adds up what settled batches cost.

    Args:
        connection: In a transaction.
        month: Only batches that were settled in it, or None for all.
    """
    # Batches from before there was a ledger tell only what Bouncer charged.
    expected = func.coalesce(Batch.expected_credits, Batch.credits, 0)
    rows = connection.execute(
        select(
            func.count().label("batches"),
            func.sum(Batch.quantity).label("addresses"),
            func.sum(expected).label("expected"),
            func.sum(func.coalesce(Batch.credits, 0)).label("charged"),
            func.sum(case((_TELLS, 0), else_=expected)).label("untold"),
            func.sum(maybe_paid_twice()).label("maybe_paid_twice"),
            Batch.user_id,
            User.email.label("user"),
            Batch.request_id,
            Request.name.label("request"),
        )
        .outerjoin(User, User.id == Batch.user_id)
        .outerjoin(Request, Request.request_id == Batch.request_id)
        .where(*_settled(month))
        .group_by(Batch.user_id, User.email, Batch.request_id, Request.name)
    ).mappings()
    # Sums are of type Decimal on MariaDB and MySQL.
    requests = [
        Cost(**{name: int(value) if isinstance(value, Decimal) else value for name, value in row.items()})  # type: ignore[arg-type]  # the columns have the names and types of its fields
        for row in rows
    ]
    users: dict[int | None, Cost] = {}
    for cost in requests:
        added = users.get(cost.user_id, Cost()) + cost
        users[cost.user_id] = replace(added, user_id=cost.user_id, user=cost.user)
    return Ledger(
        month=None if month is None else str(month),
        total=sum(requests, Cost()),
        users=tuple(sorted(users.values(), key=_dearest_first)),
        requests=tuple(sorted(requests, key=_dearest_first)),
    )


def write_batches(engine: Engine, file: TextIO, month: Month | None = None) -> int:
    """Writes one CSV line for each settled batch, in the order of their making.

    Args:
        engine: The contacts database.
        file: Where to.
        month: Only batches that were settled in it, or None for all.

    Returns:
        How many lines, the header not counted.

    Raises:
        DatabaseUnavailable: The database was away for too long.
    """
    writer = csv.writer(file)
    writer.writerow(BATCH_COLUMNS)
    written = 0
    for rows in _chunks(engine, month):
        writer.writerows(map(_line, rows))
        written += len(rows)
    return written


def _settled(month: Month | None) -> list[ColumnElement[bool]]:
    # A failed batch without an id, and without a lost upload, was never sent and cost nothing.
    sent = or_(was_accepted(), Batch.realtime, Batch.ambiguous_uploads > 0)
    conditions: list[ColumnElement[bool]] = [is_in(*SETTLED), sent]
    if month is not None:
        first, next_ = month.bounds
        conditions += [Batch.completed_ts >= first, Batch.completed_ts < next_]
    return conditions


def _dearest_first(cost: Cost) -> tuple[int, int, int]:
    return (-max(cost.charged, cost.expected), cost.user_id or 0, cost.request_id or 0)


def _chunks(engine: Engine, month: Month | None) -> Iterator[list[Row[*tuple[Any, ...]]]]:
    after = 0
    while rows := _rows(engine, month, after):
        yield rows
        after = rows[-1].id


@reading
def _rows(connection: Connection, month: Month | None, after: int) -> list[Row[*tuple[Any, ...]]]:
    query = (
        select(
            Batch.completed_ts,
            Batch.user_id,
            User.email,
            Batch.request_id,
            Request.name,
            Batch.id,
            Batch.bouncer_id.label("bouncer_id"),
            Batch.account,
            Batch.realtime,
            state_of(),
            Batch.quantity,
            Batch.expected_credits,
            Batch.credits,
            maybe_paid_twice().label("maybe_twice"),
        )
        .outerjoin(User, User.id == Batch.user_id)
        .outerjoin(Request, Request.request_id == Batch.request_id)
        .where(*_settled(month), Batch.id > after)
        .order_by(Batch.id)
        .limit(_CHUNK_ROWS)
    )
    return list(connection.execute(query).all())


def _line(row: Row[*tuple[Any, ...]]) -> list[Any]:
    told = row.credits is not None and row.expected_credits is not None
    return [
        "" if row.completed_ts is None else f"{row.completed_ts:%Y-%m-%dT%H:%M:%SZ}",
        row.user_id,
        harmless(row.email or ""),
        row.request_id,
        harmless(row.name or ""),
        row.id,
        row.bouncer_id,
        row.account,
        "real time" if row.realtime else "batch",
        row.state,
        row.quantity,
        row.expected_credits,
        row.credits,
        row.credits - row.expected_credits if told else None,
        row.maybe_twice,
    ]
