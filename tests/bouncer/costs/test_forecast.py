"""Forecasts: what a file or the queue would cost, by the rules of a claim, with nothing changed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ColumnElement, Engine, and_, delete, select, update

from bouncer.batches.transitions import record_verified
from bouncer.costs.forecast import Forecast, Terms, forecast_file, forecast_queue
from bouncer.credits.caps import set_cap
from bouncer.credits.prices import PriceTable
from bouncer.files.importing import import_contacts
from bouncer.queue import claiming
from bouncer.repeats.deep_pass import Risk, deep_request_of, pick_some
from bouncer.requests.users import LOCAL_USER
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Base, Batch, Contact, Layer, QueuedContact
from bouncer.verdicts.freshness import FreshFor
from sandbox.service.verdicts import count_statuses, digests_of, judge
from tests.bouncer.contacts import (
    ACCOUNT,
    batch_rows,
    claim,
    load_verdicts,
    new_request,
    queue,
    queue_again,
    queue_rows,
    sent,
    set_back,
    take,
    upload,
    verdicts,
    verify,
)

_TERMS = Terms(account=ACCOUNT, batch_size=100, slots=2, fresh_for=FreshFor(), prices=PriceTable())


def _parts(forecast: Forecast) -> tuple[int, ...]:
    return (forecast.contacts, forecast.invalid, forecast.duplicates, forecast.fresh, forecast.shared, forecast.to_pay)


def _emails(count: int, domain: str = "example.com") -> list[str]:
    return [f"person{number}@{domain}" for number in range(count)]


def _verified(engine: Engine, emails: list[str], **verdict: Any) -> None:
    queue(engine, emails)
    for batch in claim(engine).batches:
        load_verdicts(engine, verify(engine, batch.id), verdicts(sent(engine, batch.id), **verdict))


def _everything(engine: Engine) -> dict[str, list[Any]]:
    tables = Base.metadata.tables.values()
    return read(engine, lambda connection: {t.name: list(connection.execute(select(t)).all()) for t in tables})


def _file(folder: Path, lines: list[str]) -> Path:
    path = folder / "list.csv"
    path.write_text("email\n" + "\n".join(lines) + "\n")
    return path


def test_a_forecast_of_the_queue_agrees_with_what_a_claim_does(engine: Engine) -> None:
    """Invalid, repeated, known and travelling addresses are told apart as the claim that follows tells them apart."""
    _verified(engine, _emails(20))
    queue(engine, _emails(10, "travelling.example"))
    claim(engine)
    queue(engine, [*_emails(25), *_emails(5, "TRAVELLING.example"), "PERSON24@example.com", "no address"])
    before = _everything(engine)
    forecast = forecast_queue(engine, _TERMS)
    assert _everything(engine) == before
    assert _parts(forecast) == (32, 1, 1, 20, 5, 5)
    claimed = claim(engine)
    assert (claimed.invalid, claimed.reused, claimed.joined) == (1, 20, 5)
    assert sum(batch.quantity for batch in claimed.batches) == forecast.to_pay == forecast.most_credits


def test_a_forecast_of_a_file_agrees_with_its_import_and_claim(engine: Engine, tmp_path: Path) -> None:
    """What an import would queue, reject or find twice is forecast, and a file that is in the request costs nothing."""
    _verified(engine, _emails(20))
    path = _file(tmp_path, [*_emails(30), "Person3@Example.com", "nonsense", "", "new@firm.example"])
    before = _everything(engine)
    forecast = forecast_file(engine, path, _TERMS, request=("autumn", LOCAL_USER))
    assert _everything(engine) == before
    assert _parts(forecast) == (33, 1, 1, 20, 0, 11)
    report = import_contacts(engine, path, request_name="autumn")
    assert (report.lines, report.rejected, report.duplicates) == (33, 1, 1)
    assert sum(batch.quantity for batch in claim(engine).batches) == forecast.to_pay
    again = forecast_file(engine, path, _TERMS, request=("autumn", LOCAL_USER))
    assert _parts(again) == (33, 1, 32, 0, 0, 0)
    elsewhere = forecast_file(engine, path, _TERMS, request=("winter", LOCAL_USER))
    assert _parts(elsewhere) == (33, 1, 1, 20, 11, 0)


def test_one_request_is_forecast_alone(engine: Engine) -> None:
    """With a request's id only its contacts are looked at; all requests together share their addresses."""
    first, second = new_request(engine), new_request(engine)
    contacts = queue(engine, _emails(10), request_id=first)
    queue_again(engine, contacts[:4], request_id=second, priority=100)
    assert _parts(forecast_queue(engine, _TERMS, request_id=second)) == (4, 0, 0, 0, 0, 4)
    assert _parts(forecast_queue(engine, _TERMS)) == (14, 0, 4, 0, 0, 10)


def test_stale_verdicts_are_paid_for_again(engine: Engine) -> None:
    """A verdict that is too old, or an unknown one, is no reason not to pay; with an age of 0 none is."""
    _verified(engine, _emails(5, "old.example"))
    set_back(engine, Contact.bouncer_verified_ts, 100 * 86_400)
    _verified(engine, _emails(5, "unknown.example"), status="unknown")
    _verified(engine, _emails(5, "good.example"))
    for domain in ("old.example", "unknown.example", "good.example"):
        queue(engine, _emails(5, domain))
    assert _parts(forecast_queue(engine, _TERMS)) == (15, 0, 0, 5, 0, 10)
    anew = Terms(account=ACCOUNT, batch_size=100, slots=2, fresh_for=FreshFor(days=0), prices=PriceTable())
    assert _parts(forecast_queue(engine, anew)) == (15, 0, 0, 0, 0, 15)


def test_credits_are_expected_at_the_share_that_was_charged_before(engine: Engine) -> None:
    """Unknown verdicts are free: what the account was charged for its recent batches is expected again."""
    queue(engine, _emails(60, "first.example"))
    assert forecast_queue(engine, _TERMS).charged_share is None
    for batch in claim(engine).batches:
        load_verdicts(engine, verify(engine, batch.id), verdicts(sent(engine, batch.id)))
    with engine.begin() as connection:
        connection.execute(Batch.__table__.update().values(credits=45))
    queue(engine, _emails(200, "second.example"))
    forecast = forecast_queue(engine, _TERMS)
    assert (forecast.charged_share, forecast.expected_credits, forecast.most_credits) == (0.75, 150, 200)
    assert (forecast.price, forecast.most_price) == (1.2, 1.6)


def _judged(addresses: list[str]) -> dict[str, str]:
    # As the sandbox would say: the same for the same address.
    digests = digests_of(7, addresses)
    return {
        address: next(status for status, count in count_statuses(bytes([code])).items() if count)
        for address, code in zip(addresses, judge(7, addresses, digests), strict=True)
    }


def _verify_all(engine: Engine, contacts: list[int]) -> int:
    """Verifies contacts as a request of their own, and returns what Bouncer bills."""
    queue_again(engine, contacts)
    bill = 0
    while batches := claim(engine, batch_size=2_500).batches:
        for batch in batches:
            said = _judged(sent(engine, batch.id))
            charged = sum(status != "unknown" for status in said.values())
            work = upload(engine, batch.id)
            write(engine, record_verified, work, charged)
            answers = [verdict for email, status in said.items() for verdict in verdicts([email], status=status)]
            load_verdicts(engine, take(engine, batch.id), answers)
            bill += charged
    return bill


def _contacts(engine: Engine, emails: list[str]) -> list[int]:
    ids = queue(engine, emails)
    write(engine, lambda c: c.execute(delete(QueuedContact).where(QueuedContact.global_id.in_(ids))))
    return ids


@pytest.mark.thorough
def test_a_list_that_was_sent_before_is_not_forecast_too_high(engine: Engine) -> None:
    """Of 10,000 contacts 30 % are new: those that stay unknown are sent again, but are no part of what is expected."""
    first = _contacts(engine, [f"a{number}@firm{number % 50}.com" for number in range(10_000)])
    assert _verify_all(engine, first) < 10_000
    second = first[3_000:] + _contacts(engine, [f"b{number}@firm{number % 50}.com" for number in range(3_000)])
    queue_again(engine, second)
    forecast = forecast_queue(engine, _TERMS)
    write(engine, lambda c: c.execute(delete(QueuedContact).where(QueuedContact.status == "queued")))
    bill = _verify_all(engine, second)
    assert forecast.unknown_before > 0.02 * bill
    assert forecast.to_pay == 3_000 + forecast.unknown_before
    assert abs(forecast.expected_credits - bill) <= 0.01 * bill
    # A third list, all new, is not forecast too low because of them either.
    third = _contacts(engine, [f"c{number}@firm{number % 50}.com" for number in range(3_000)])
    queue_again(engine, third)
    forecast_of_third = forecast_queue(engine, _TERMS)
    write(engine, lambda c: c.execute(delete(QueuedContact).where(QueuedContact.status == "queued")))
    bill = _verify_all(engine, third)
    assert abs(forecast_of_third.expected_credits - bill) <= 0.01 * bill


def test_addresses_that_were_unknown_are_expected_to_cost_what_such_ones_did(engine: Engine) -> None:
    """Nothing until some were sent again; then the share of them that Bouncer found something out about."""
    _verified(engine, _emails(40, "quiet.example"), status="unknown")
    quiet = [row.global_id for row in queue_rows(engine)]
    queue_again(engine, quiet[:20])
    assert (forecast_queue(engine, _TERMS).unknown_before, forecast_queue(engine, _TERMS).expected_credits) == (20, 0)
    (batch,) = claim(engine).batches
    work = upload(engine, batch.id)
    write(engine, record_verified, work, 5)
    addresses = sent(engine, batch.id)
    load_verdicts(engine, take(engine, batch.id), verdicts(addresses[:5]) + verdicts(addresses[5:], status="unknown"))
    queue_again(engine, quiet[20:])
    forecast = forecast_queue(engine, _TERMS)
    assert (forecast.unknown_charged_share, forecast.unknown_before, forecast.expected_credits) == (0.25, 20, 5)


_DEEP = replace(_TERMS, account="deep", layer=Layer.DEEP)


def test_forecasts_and_bills_mean_the_same_by_an_address_that_was_unknown(engine: Engine) -> None:
    """It is about the address: a new contact with one that was unknown under another is counted at both ends."""
    _verified(engine, ["quiet@example.com"], status="unknown")
    queue(engine, ["QUIET@example.com", "new@example.com"])
    assert forecast_queue(engine, _TERMS).unknown_before == 1
    (batch,) = claim(engine).batches
    load_verdicts(engine, verify(engine, batch.id), verdicts(sent(engine, batch.id)))
    row = batch_rows(engine)[-1]
    assert (row.unknown_before, row.unknown_resolved) == (1, 1)


def test_the_verdict_of_a_contact_whose_address_was_changed_is_not_forecast_as_the_files(
    engine: Engine, tmp_path: Path
) -> None:
    """The import makes the file's address a contact of its own, which has no verdict and is paid for."""
    _verified(engine, ["old@example.com", "Kept@example.com"])
    renamed = update(Contact).where(Contact.email == "old@example.com").values(email="new@example.com")
    write(engine, lambda c: c.execute(renamed))
    file = _file(tmp_path, ["old@example.com", "kept@example.com"])
    forecast = forecast_file(engine, file, _TERMS, request=("list", LOCAL_USER))
    assert (forecast.to_pay, forecast.fresh) == (1, 1)
    import_contacts(engine, file, request_name="list")
    claimed = claim(engine)
    assert (sum(batch.quantity for batch in claimed.batches), claimed.reused) == (1, 1)


def _wait_for_deep_pass(engine: Engine, count: int) -> tuple[int, int]:
    """Verifies risky contacts and picks them for the deep pass; returns their request and that of the deep pass."""
    request = new_request(engine)
    queue(engine, _emails(count, "all.example"), request_id=request)
    (batch,) = claim(engine).batches
    load_verdicts(engine, verify(engine, batch.id), verdicts(sent(engine, batch.id), status="risky", score=30))
    write(engine, pick_some, request, Risk(), after=0, fresh_days=90, again=False)
    deep = read(engine, deep_request_of, request)
    assert deep is not None
    return request, deep


def test_what_waits_for_the_deep_pass_is_part_of_a_forecast(engine: Engine) -> None:
    """Ingest sends both passes; a basic verdict, however fresh, does not do for the deep one."""
    _, deep = _wait_for_deep_pass(engine, 20)
    queue(engine, [*_emails(5, "all.example"), *_emails(10, "new.example")])
    before = _everything(engine)
    forecast = forecast_queue(engine, _TERMS, _DEEP)
    assert _everything(engine) == before
    assert _parts(forecast) == (35, 0, 0, 5, 0, 30)
    assert (forecast.deep, forecast.most_credits, forecast.batches) == (20, 30, 2)
    assert _parts(forecast_queue(engine, _TERMS)) == (15, 0, 0, 5, 0, 10)
    assert _parts(forecast_queue(engine, _TERMS, _DEEP, request_id=deep)) == (20, 0, 0, 0, 0, 20)
    (batch,) = write(
        engine, claiming.claim, "deep", batches=1, batch_size=100, fresh_for=FreshFor(), layer=Layer.DEEP
    ).batches
    assert forecast_queue(engine, _TERMS, _DEEP).shared == 0
    load_verdicts(engine, verify(engine, batch.id), verdicts(sent(engine, batch.id), status="deliverable"))
    contacts = [row.global_id for row in queue_rows(engine) if row.layer == "deep"]
    queue_again(engine, contacts)
    write(engine, lambda c: c.execute(update(QueuedContact).where(_waits()).values(layer=Layer.DEEP)))
    # These, and the five that wait for the basic pass.
    assert forecast_queue(engine, _TERMS, _DEEP).fresh == 20 + 5


def _waits() -> ColumnElement[bool]:
    return and_(QueuedContact.status == "queued", QueuedContact.global_id <= 20)


def test_caps_hold_a_forecast_back(engine: Engine) -> None:
    """Credits are forecast as far as the caps of requests and of the run let them be spent; the rest is told apart."""
    capped = new_request(engine)
    queue(engine, _emails(50, "capped.example"), request_id=capped)
    queue(engine, _emails(30, "free.example"))
    write(engine, set_cap, capped, 20)
    forecast = forecast_queue(engine, _TERMS)
    assert (forecast.to_pay, forecast.held_back, forecast.most_credits, forecast.expected_credits) == (80, 30, 50, 50)
    of_run = forecast_queue(engine, _TERMS, max_credits=35)
    assert (of_run.to_pay, of_run.held_back, of_run.most_credits, of_run.batches) == (80, 45, 35, 1)


def test_a_deep_pass_is_held_back_by_its_requests_cap(engine: Engine) -> None:
    """What both passes of a request may cost together is forecast, not twice what is left."""
    request, _ = _wait_for_deep_pass(engine, 20)
    queue(engine, _emails(10, "more.example"), request_id=request)
    write(engine, set_cap, request, 25)
    forecast = forecast_queue(engine, _TERMS, _DEEP)
    assert (forecast.to_pay, forecast.most_credits, forecast.held_back) == (30, 5, 25)


def test_the_time_is_that_of_the_present_speed(engine: Engine) -> None:
    """As fast as recent batches were, with as many at once as there are slots; else as slow as is documented."""
    queue(engine, _emails(100, "first.example"))
    documented = forecast_queue(engine, _TERMS)
    assert (documented.pace_is_documented, documented.seconds, documented.batches) == (True, 3.6, 1)
    (batch,) = claim(engine).batches
    load_verdicts(engine, verify(engine, batch.id), verdicts(sent(engine, batch.id)))
    set_back(engine, Batch.verified_ts, 100)
    set_back(engine, Batch.uploaded_ts, 150)
    queue(engine, _emails(400, "second.example"))
    forecast = forecast_queue(engine, _TERMS)
    assert batch_rows(engine)[0].quantity == 100
    # Half a second an address, four batches of 100, two at a time; a second may have passed between the two moments.
    assert (forecast.pace_is_documented, forecast.batches) == (False, 4)
    assert forecast.seconds == pytest.approx(100, abs=2)


def test_the_most_frequent_domains_are_told_with_their_shares(engine: Engine) -> None:
    """The shares are of the valid contacts, the ten largest domains by name and the others together."""
    queue(engine, [*_emails(50, "big.example"), *_emails(30, "Middle.example"), "nothing"])
    queue(engine, [f"a@small{number}.example" for number in range(20)])
    forecast = forecast_queue(engine, _TERMS)
    shares = [(share.domain, share.contacts, share.share) for share in forecast.domains[:2]]
    assert shares == [("big.example", 50, 0.5), ("middle.example", 30, 0.3)]
    assert (len(forecast.domains), forecast.other_domains) == (10, 12)


def test_a_file_can_be_forecast_before_there_is_a_database(tmp_path: Path) -> None:
    """Whoever wants to know the price first needs no database; repeated lines are found over all chunks."""
    path = _file(tmp_path, [f"a{number % 50_000}@example.com" for number in range(60_000)])
    forecast = forecast_file(None, path, _TERMS, request=("any", LOCAL_USER))
    assert _parts(forecast) == (60_000, 0, 10_000, 0, 0, 50_000)
    assert (forecast.credits_at_hand, forecast.credits_missing) == (None, None)


@pytest.mark.parametrize("most", [10, 1_000_000])
def test_repeated_addresses_are_found_however_many_came_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Keys that were put away are found again as the recent ones are."""
    monkeypatch.setattr("bouncer.addresses.seen_keys._RECENT_KEYS", most)
    monkeypatch.setattr("bouncer.costs.forecast._CHUNK_ROWS", 50)
    path = _file(tmp_path, [f"a{number % 70}@example.com" for number in range(500)])
    assert _parts(forecast_file(None, path, _TERMS, request=("any", LOCAL_USER))) == (500, 0, 430, 0, 0, 70)
