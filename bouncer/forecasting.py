"""Forecasts: what a file, or what waits in the queue, would cost; nothing is changed.

Addresses are looked up by the rules of a claim (``bouncer.claiming``); ``bouncer.census`` does the counting.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Engine, func, select

from bouncer.accounts import read_state
from bouncer.addresses import normalise_all
from bouncer.census import Census, DomainShare
from bouncer.charging import ChargeRates, charge_rates
from bouncer.csv_reading import inspect, read_chunks
from bouncer.database import read
from bouncer.polling import seconds_an_address
from bouncer.prices import PriceTable
from bouncer.reusing import FreshFor
from bouncer.tables import Contact, Layer, QueuedContact, QueueStatus, Request, User

__all__ = ["Forecast", "Terms", "forecast_file", "forecast_queue"]

_CHUNK_ROWS = 20_000
_DOCUMENTED_SECONDS_AN_ADDRESS = 3600 / 100_000
"""Bouncer verifies 100,000 to 200,000 addresses an hour: https://docs.usebouncer.com."""


@dataclass(frozen=True)
class Terms:
    """Under which terms addresses are verified.

    Attributes:
        account: The name of the account block.
        batch_size: The most addresses in a batch.
        slots: The most batches in flight.
        fresh_for: How long verdicts stay good.
        prices: What credits cost.
    """

    account: str
    batch_size: int
    slots: int
    fresh_for: FreshFor
    prices: PriceTable


@dataclass(frozen=True)
class Forecast:
    """What verifying would do and cost; contacts are invalid, duplicates, fresh, shared or to be paid for.

    Attributes:
        contacts: Contacts that were looked at.
        invalid: Contacts without an address that can be mailed to; they fail at no cost.
        duplicates: Contacts whose address came before, in any case; they share one verdict.
        fresh: Addresses with a verdict that is still good; they cost nothing.
        shared: Addresses that are on their way, or wait already, for others; they cost nothing more.
        to_pay: Addresses that would be sent to Bouncer.
        unknown_before: Those of them whose last verdict was unknown, and so was free.
        most_credits: What they cost if Bouncer finds something out about each; unknown ones are free.
        expected_credits: What they cost at the two shares below; where there are none, all are charged but those that
            were unknown before.
        charged_share: Which share of addresses was charged in recent batches, but for those below; or None.
        unknown_charged_share: Likewise, of addresses whose verdict had been unknown before.
        price: Of the expected credits, bought at once.
        most_price: Of the most credits.
        currency: Of both.
        credits_at_hand: As Bouncer last told, or None.
        credits_ts: When it told, in UTC.
        seconds: How long it would take at the present speed.
        pace_is_documented: Whether there is no present speed, and Bouncer's documented slowest was taken.
        batches: How many batches it would be.
        domains: The most frequent domains, with their share of the valid contacts.
        other_domains: Valid contacts at any other domain.
    """

    contacts: int
    invalid: int
    duplicates: int
    fresh: int
    shared: int
    to_pay: int
    unknown_before: int
    most_credits: int
    expected_credits: int
    charged_share: float | None
    unknown_charged_share: float | None
    price: float
    most_price: float
    currency: str
    credits_at_hand: int | None
    credits_ts: datetime | None
    seconds: float
    pace_is_documented: bool
    batches: int
    domains: tuple[DomainShare, ...]
    other_domains: int

    @property
    def credits_missing(self) -> int | None:
        """How many credits are to be bought for the worst case, or None where those at hand are not known."""
        return None if self.credits_at_hand is None else max(0, self.most_credits - self.credits_at_hand)


def forecast_file(
    engine: Engine | None,
    path: Path,
    terms: Terms,
    *,
    request: tuple[str, str],
    column: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Forecast:
    """Forecasts what importing a CSV file and verifying it would cost.

    Args:
        engine: The contacts database, or None where there is none yet, so that nothing is known.
        path: The file.
        terms: The account's.
        request: The names of the request and of its user that the file would be imported into; what is in the request
            already counts as duplicate.
        column: As of ``import_contacts``.
        progress: Called after each chunk with the lines and the bytes done so far.

    Raises:
        InputRefused: The file cannot be used.
        DatabaseUnavailable: The database was away for too long.
    """
    request_id = None if engine is None else read(engine, _request_id, *request)
    count = Census(engine, terms.fresh_for, waiting_is_shared=True, request_id=request_id)
    lines = 0
    for chunk in read_chunks(inspect(path, column), _CHUNK_ROWS):
        checked = normalise_all(pd.Series(chunk.addresses, dtype=object)).assign(verdict_after=None)
        count.add(checked, unreadable=len(chunk.rejected))
        lines += len(chunk.lines) + len(chunk.rejected)
        if progress is not None:
            progress(lines, chunk.bytes_done)
    return _forecast(engine, terms, count)


def forecast_queue(
    engine: Engine,
    terms: Terms,
    *,
    request_id: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Forecast:
    """Forecasts what verifying the contacts that wait in the queue would cost.

    Args:
        engine: The contacts database.
        terms: The account's.
        request_id: Only this request, or None for all.
        progress: Called after each chunk with the contacts looked at so far.

    Raises:
        DatabaseUnavailable: The database was away for too long.
    """
    count = Census(engine, terms.fresh_for)
    for contacts in _waiting(engine, request_id):
        count.add(contacts.join(normalise_all(contacts["email"])))
        if progress is not None:
            progress(count.contacts)
    return _forecast(engine, terms, count)


def _waiting(engine: Engine, request_id: int | None) -> Iterator[pd.DataFrame]:
    for priority, request in read(engine, _sources, request_id):
        after = -1
        while True:
            rows = read(engine, _waiting_chunk, priority, request, after)
            if not rows:
                break
            after = rows[-1].queue_id
            yield pd.DataFrame(
                {
                    "email": pd.Series([row.email for row in rows], dtype=object),
                    "verdict_after": [row.verdict_after_ts for row in rows],
                }
            )


_WAITS = (QueuedContact.status == QueueStatus.QUEUED, QueuedContact.layer == Layer.BASIC)


def _sources(connection: Connection, request_id: int | None) -> list[tuple[int, int]]:
    # Each question is one seek in the claims' index, however many contacts wait.
    found: list[tuple[int, int]] = []
    priority = connection.scalar(select(func.max(QueuedContact.priority)).where(*_WAITS))
    while priority is not None:
        here = (*_WAITS, QueuedContact.priority == priority)
        request = request_id if request_id is not None else _next_request(connection, here, -1)
        while request is not None:
            found.append((priority, request))
            request = None if request_id is not None else _next_request(connection, here, request)
        priority = connection.scalar(
            select(func.max(QueuedContact.priority)).where(*_WAITS, QueuedContact.priority < priority)
        )
    return found


def _next_request(connection: Connection, conditions: tuple[Any, ...], after: int) -> int | None:
    return connection.scalar(
        select(func.min(QueuedContact.request_id)).where(*conditions, QueuedContact.request_id > after)
    )


def _waiting_chunk(connection: Connection, priority: int, request_id: int, after: int) -> list[Any]:
    return list(
        connection.execute(
            select(QueuedContact.queue_id, Contact.email, QueuedContact.verdict_after_ts)
            .join(Contact, Contact.global_id == QueuedContact.global_id)
            .where(
                *_WAITS,
                QueuedContact.priority == priority,
                QueuedContact.request_id == request_id,
                QueuedContact.queue_id > after,
            )
            .order_by(QueuedContact.queue_id)
            .limit(_CHUNK_ROWS)
        )
    )


def _request_id(connection: Connection, name: str, user_email: str) -> int | None:
    # By the same names as an import finds it.
    found = connection.execute(
        select(Request.request_id, Request.name)
        .join(User, User.id == Request.user_id)
        .where(func.lower(User.email) == user_email.lower(), Request.name == name)
        .order_by(Request.request_id)
    )
    return next((row.request_id for row in found if row.name == name), None)


def _forecast(engine: Engine | None, terms: Terms, count: Census) -> Forecast:
    rates = ChargeRates()
    pace = at_hand = told = None
    if engine is not None:
        rates = read(engine, charge_rates, terms.account)
        pace = read(engine, seconds_an_address, terms.account)
        state = read(engine, read_state, terms.account)
        at_hand, told = state.credits, state.credits_ts
    batches = -(-count.to_pay // terms.batch_size)
    # As many batches as there are slots go side by side; where there is no present speed, the account's shared one.
    rounds = -(-batches // terms.slots)
    seconds = count.to_pay * _DOCUMENTED_SECONDS_AN_ADDRESS
    if pace is not None:
        seconds = rounds * pace * count.to_pay / max(1, batches)
    expected = round(rates.expected(count.to_pay, count.unknown_before))
    domains, others = count.domains()
    return Forecast(
        contacts=count.contacts,
        invalid=count.invalid,
        duplicates=count.duplicates,
        fresh=count.fresh,
        shared=count.shared,
        to_pay=count.to_pay,
        unknown_before=count.unknown_before,
        most_credits=count.to_pay,
        expected_credits=expected,
        charged_share=rates.others,
        unknown_charged_share=rates.unknown_before,
        price=round(terms.prices.price(expected), 2),
        most_price=round(terms.prices.price(count.to_pay), 2),
        currency=terms.prices.currency,
        credits_at_hand=at_hand,
        credits_ts=told,
        seconds=round(seconds, 1),
        pace_is_documented=pace is None,
        batches=batches,
        domains=domains,
        other_domains=others,
    )
