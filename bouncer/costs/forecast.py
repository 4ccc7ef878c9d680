"""Forecasts: what a file, or what waits in the queue, would cost; nothing is changed.

Addresses are looked up by the rules of a claim (``bouncer.queue.claiming``); ``bouncer.costs.address_count``
does the counting.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine

from bouncer.accounts.state import read_state
from bouncer.addresses.normalisation import normalise_all
from bouncer.costs.address_count import Census, DomainShare, Due
from bouncer.credits.caps import shared_rooms
from bouncer.credits.charge_rates import ChargeRates, charge_rates
from bouncer.credits.prices import PriceTable
from bouncer.files.checked_cells import check_cells
from bouncer.files.csv.reading import inspect, read_chunks
from bouncer.files.lists.list_rows import request_of
from bouncer.files.lists.sources import opened_list
from bouncer.queue.waiting_contacts import walk
from bouncer.steps.pacing import seconds_an_address
from bouncer.storage.tables import Layer
from bouncer.storage.transactions import reading
from bouncer.verdicts.freshness import FreshFor

__all__ = ["Forecast", "Terms", "forecast_file", "forecast_queue"]

_CHUNK_ROWS = 20_000
_NO_REQUEST = -1
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
        layer: The pass that the account serves.
    """

    account: str
    batch_size: int
    slots: int
    fresh_for: FreshFor
    prices: PriceTable
    layer: Layer = Layer.BASIC


@dataclass(frozen=True)
class Forecast:
    """Forecast of a verification and its cost; contacts are invalid, duplicates, fresh, shared or to be paid for.

    Attributes:
        contacts: Contacts that were looked at.
        invalid: Contacts without an address that can be mailed to; they fail at no cost.
        duplicates: Contacts whose address came before, in any case; they share one verdict.
        fresh: Addresses with a verdict that is still good; they cost nothing.
        shared: Addresses that are on their way, or wait already, for others; they cost nothing more.
        to_pay: Addresses that would be sent to Bouncer.
        unknown_before: Those of them whose last verdict was unknown, and so was free.
        deep: Those of them that wait for the deep pass.
        held_back: Those of them that caps on credits would keep in the queue, if Bouncer charges for all others.
        most_credits: What the others cost if Bouncer finds something out about each; unknown ones are free.
        expected_credits: What they cost at the two shares below, within the caps; where there are none, all are charged
            but those that were unknown before.
        charged_share: Share of addresses charged in recent batches, without those unknown before; or None.
        unknown_charged_share: Share charged of the addresses whose verdict had been unknown before; or None.
        price: Of the expected credits, bought at once.
        most_price: Of the most credits.
        currency: Of both.
        credits_at_hand: As Bouncer last reported, or None.
        credits_ts: When it reported them, in UTC.
        credits_missing: How many are to be bought for the worst case, or None where those at hand are not known.
        seconds: How long it would take at the present speed.
        pace_is_documented: Whether there is no present speed, and Bouncer's documented slowest was taken.
        batches: How many batches it would be.
        domains: The most frequent domains, with their share of the valid contacts.
        other_domains: Valid contacts at any other domain.
        column: The column of the list that the addresses were taken from; None for the queue.
    """

    contacts: int
    invalid: int
    duplicates: int
    fresh: int
    shared: int
    to_pay: int
    unknown_before: int
    deep: int
    held_back: int
    most_credits: int
    expected_credits: int
    charged_share: float | None
    unknown_charged_share: float | None
    price: float
    most_price: float
    currency: str
    credits_at_hand: int | None
    credits_ts: datetime | None
    credits_missing: int | None
    seconds: float
    pace_is_documented: bool
    batches: int
    domains: tuple[DomainShare, ...]
    other_domains: int
    column: str | None = None


def forecast_file(
    engine: Engine | None,
    path: Path | str,
    terms: Terms,
    *,
    request: tuple[str, str | int],
    column: str | None = None,
    split: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Forecast:
    """Forecasts what importing a list and verifying it would cost.

    Args:
        engine: The contacts database, or None where there is none yet, so that nothing is known.
        path: The list, a place for ``opened_list``.
        terms: The account's.
        request: The names of the request and of its user that the file would be imported into; what is in the request
            already counts as duplicate.
        column: The header of the column of addresses, or its number from 1; None to find it.
        split: Whether cells with several addresses are split.
        progress: Called after each chunk with the lines and the bytes done so far.

    Raises:
        InputRefused: The file cannot be used.
        DatabaseUnavailable: The database was away for too long.
    """
    request_id = None if engine is None else request_of(engine, *request)
    count = Census(engine, terms.fresh_for, is_import=True, request_id=request_id)
    due = Due()
    lines = 0
    with opened_list(str(path)) as source:
        layout = inspect(source.path, column, source.name)
        for chunk in read_chunks(layout, _CHUNK_ROWS):
            checked = check_cells(chunk.addresses, split=split).frame().assign(verdict_after=None)
            due += count.add(checked, unreadable=len(chunk.rejected))
            lines += len(chunk.lines) + len(chunk.rejected)
            if progress is not None:
                progress(lines, chunk.bytes_done)
    forecast = _forecast(engine, [terms], count, {(terms.layer, _NO_REQUEST): due})
    return replace(forecast, column=layout.column_name)


def forecast_queue(
    engine: Engine,
    *terms: Terms,
    request_id: int | None = None,
    max_credits: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Forecast:
    """Forecasts what verifying the contacts that wait in the queue would cost.

    Args:
        engine: The contacts database.
        terms: Those of the accounts that would pay, one for each pass; what waits for another pass is left out.
        request_id: Only this request, or None for all.
        max_credits: The cap of the run, or None for any number. Caps of requests hold in any case.
        progress: Called after each chunk with the contacts looked at so far.

    Raises:
        DatabaseUnavailable: The database was away for too long.
    """
    count = Census(engine, terms[0].fresh_for)
    due: dict[tuple[Layer, int], Due] = {}
    for layer in (one.layer for one in terms):
        for request, contacts in walk(engine, layer, request_id):
            added = count.add(contacts.join(normalise_all(contacts["email"])), layer=layer)
            due[layer, request] = due.get((layer, request), Due()) + added
            if progress is not None:
                progress(count.contacts)
    return _forecast(engine, terms, count, due, max_credits)


def _forecast(
    engine: Engine | None,
    terms: Sequence[Terms],
    count: Census,
    due: Mapping[tuple[Layer, int], Due],
    max_credits: int | None = None,
) -> Forecast:
    known = [_Known() if engine is None else _known(engine, one.account) for one in terms]
    rates = {one.layer: its.rates for one, its in zip(terms, known, strict=True)}
    of_layer: Counter[Layer] = Counter()
    most: Counter[int] = Counter()
    expected: dict[int, float] = defaultdict(float)
    caps = {} if engine is None else shared_rooms(engine, {request for _, request in due})
    for (layer, request), addresses in due.items():
        # A deep pass and the request that it belongs to share one cap.
        shared, _ = caps.get(request, (request, None))
        of_layer[layer] += addresses.to_pay
        most[shared] += addresses.to_pay
        expected[shared] += rates[layer].expected(addresses.to_pay, addresses.unknown_before)
    room = {request: max(0, left) for request, left in caps.values() if left is not None}
    most_credits = sum(min(cost, room.get(request, cost)) for request, cost in most.items())
    likely = sum(min(cost, room.get(request, cost)) for request, cost in expected.items())
    if max_credits is not None:
        most_credits, likely = min(most_credits, max_credits), min(likely, max_credits)
    expected_credits = round(likely)
    sent = {one.layer: round(of_layer[one.layer] * most_credits / max(1, count.to_pay)) for one in terms}
    domains, others = count.domains()
    at_hand = [its.credits for its in known if its.credits is not None]
    all_told = len(at_hand) == len(known)
    missing = sum(max(0, sent[one.layer] - (its.credits or 0)) for one, its in zip(terms, known, strict=True))
    return Forecast(
        contacts=count.contacts,
        invalid=count.invalid,
        duplicates=count.duplicates,
        fresh=count.fresh,
        shared=count.shared,
        to_pay=count.to_pay,
        unknown_before=count.unknown_before,
        deep=of_layer[Layer.DEEP],
        held_back=count.to_pay - most_credits,
        most_credits=most_credits,
        expected_credits=expected_credits,
        charged_share=known[0].rates.others,
        unknown_charged_share=known[0].rates.unknown_before,
        price=round(terms[0].prices.price(expected_credits), 2),
        most_price=round(terms[0].prices.price(most_credits), 2),
        currency=terms[0].prices.currency,
        credits_at_hand=sum(at_hand) if all_told else None,
        credits_ts=min((its.credits_ts for its in known if its.credits_ts is not None), default=None),
        credits_missing=missing if all_told else None,
        # The passes go side by side, each through its own account.
        seconds=max(_seconds(one, its.pace, sent[one.layer]) for one, its in zip(terms, known, strict=True)),
        pace_is_documented=any(
            its.pace is None for one, its in zip(terms, known, strict=True) if sent[one.layer] or one is terms[0]
        ),
        batches=sum(-(-sent[one.layer] // one.batch_size) for one in terms),
        domains=domains,
        other_domains=others,
    )


@dataclass(frozen=True)
class _Known:
    # What is known of an account.
    rates: ChargeRates = field(default_factory=ChargeRates)
    pace: float | None = None
    credits: int | None = None
    credits_ts: datetime | None = None


@reading
def _known(connection: Connection, account: str) -> _Known:
    state = read_state(connection, account)
    pace = seconds_an_address(connection, account)
    return _Known(charge_rates(connection, account), pace, state.credits, state.credits_ts)


def _seconds(terms: Terms, pace: float | None, addresses: int) -> float:
    if pace is None:
        return round(addresses * _DOCUMENTED_SECONDS_AN_ADDRESS, 1)
    batches = -(-addresses // terms.batch_size)
    # As many batches as there are slots go side by side; where there is no present speed, the account's shared one.
    rounds = -(-batches // terms.slots)
    return round(rounds * pace * addresses / max(1, batches), 1)
