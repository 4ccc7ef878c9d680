"""The ledger: Bouncer's own count of credits beside what the verdicts suggest, with every difference shown."""

import csv
import io
from datetime import datetime

import pytest
from sqlalchemy import Engine, update

from bouncer.api.answers import Verdict
from bouncer.batches import endings, transitions
from bouncer.costs.ledger import BATCH_COLUMNS, Cost, Ledger, Month, take_ledger, write_batches
from bouncer.errors import SettingRefused
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch, Request
from tests.bouncer.contacts import claim, load_verdicts, new_request, new_user, queue, sent, take, upload, verdicts


def _settled(engine: Engine, emails: list[str], charged: int | None, *, request_id: int, unknown: int = 0) -> int:
    queue(engine, emails, request_id=request_id)
    (batch,) = claim(engine).batches
    work = upload(engine, batch.id)
    write(engine, transitions.record_verified, work, charged)
    addresses = sent(engine, batch.id)
    answers: list[Verdict] = verdicts(addresses[unknown:]) + verdicts(addresses[:unknown], status="unknown")
    load_verdicts(engine, take(engine, batch.id), answers)
    return batch.id


def _emails(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}@example.com" for number in range(count)]


def _taken(engine: Engine, month: str | None = None) -> Ledger:
    return read(engine, take_ledger, None if month is None else Month.of(month))


def test_what_was_charged_stands_beside_what_was_expected(engine: Engine) -> None:
    """Unknown verdicts are expected to be free; what Bouncer charged beyond that is the difference, by request."""
    user = new_user(engine)
    first, second = new_request(engine, user), new_request(engine, user)
    _settled(engine, _emails("a", 10), 8, request_id=first, unknown=2)
    _settled(engine, _emails("b", 6), 6, request_id=first, unknown=1)
    _settled(engine, _emails("c", 4), None, request_id=second)
    ledger = _taken(engine)
    costs = {cost.request_id: cost for cost in ledger.requests}
    assert (costs[first].batches, costs[first].addresses) == (2, 16)
    assert (costs[first].expected, costs[first].charged, costs[first].difference) == (13, 14, 1)
    assert (costs[second].expected, costs[second].charged, costs[second].untold) == (4, 0, 4)
    assert costs[second].difference == 0
    (whole,) = ledger.users
    assert (whole.user_id, whole.batches, whole.charged) == (user, 3, 14)
    assert (ledger.total.addresses, ledger.total.expected, ledger.total.difference) == (20, 17, 1)


def test_bouncers_own_sandbox_and_missing_verdicts_are_not_expected_to_cost(engine: Engine) -> None:
    """Nothing is expected for addresses that Bouncer documents as free, or that it gave no verdict on."""
    request = new_request(engine)
    queue(engine, ["deliverable+1@sandbox.usebouncer.com", "a@example.com", "b@example.com"], request_id=request)
    (batch,) = claim(engine).batches
    work = upload(engine, batch.id)
    write(engine, transitions.record_verified, work, 1)
    answered = [address for address in sent(engine, batch.id) if not address.startswith("b@")]
    load_verdicts(engine, take(engine, batch.id), verdicts(answered))
    assert (_taken(engine).total.expected, _taken(engine).total.difference) == (1, 0)


def test_what_was_charged_for_lost_results_is_a_difference(engine: Engine) -> None:
    """A batch that Bouncer charged, and whose results cannot be had, was expected to cost nothing."""
    queue(engine, _emails("a", 10))
    (batch,) = claim(engine).batches
    work = upload(engine, batch.id)
    write(engine, transitions.record_verified, work, 9)
    write(engine, endings.lose, work, "Bouncer answered 404 to download")
    total = _taken(engine).total
    assert (total.expected, total.charged, total.difference) == (0, 9, 9)


def test_a_month_has_the_batches_that_were_settled_in_it(engine: Engine) -> None:
    """From its first moment to the last before the next month, in UTC; a month without any is empty, not an error."""
    request = new_request(engine)
    moments = ["2026-04-30 23:59:59", "2026-05-01 00:00:00", "2026-05-31 23:59:59", "2026-06-01 00:00:00"]
    for number, moment in enumerate(map(datetime.fromisoformat, moments)):
        batch = _settled(engine, _emails(f"m{number}.", 2**number), 2**number, request_id=request)
        with engine.begin() as connection:
            connection.execute(update(Batch).where(Batch.id == batch).values(completed_ts=moment))
    assert [_taken(engine, month).total.charged for month in ("2026-04", "2026-05", "2026-06")] == [1, 6, 8]
    assert _taken(engine, "2026-12") == Ledger("2026-12", Cost(), (), ())


def test_a_batch_that_was_never_sent_cost_nothing(engine: Engine) -> None:
    """A refused batch is not in the ledger; one whose uploads were lost is, with the addresses that it is about."""
    request = new_request(engine)
    queue(engine, _emails("x", 5), request_id=request)
    claim(engine)
    with engine.begin() as connection:
        connection.execute(update(Batch).values(status="failed"))
    assert _taken(engine).total == Cost()
    with engine.begin() as connection:
        connection.execute(update(Batch).values(ambiguous_uploads=2))
    assert (_taken(engine).total.batches, _taken(engine).total.maybe_paid_twice) == (1, 10)


def test_the_file_has_a_line_for_each_batch(engine: Engine) -> None:
    """Each batch stands with its request, user, credits and difference, and no name becomes a formula."""
    request = new_request(engine)
    with engine.begin() as connection:
        connection.execute(update(Request).values(name="=cmd()"))
    batch = _settled(engine, _emails("f", 3), 5, request_id=request)
    text = io.StringIO()
    assert write_batches(engine, text) == 1
    header, line = csv.reader(io.StringIO(text.getvalue()))
    assert tuple(header) == BATCH_COLUMNS
    row = dict(zip(header, line, strict=True))
    assert (row["request"], row["user"], row["batch"], row["kind"]) == (
        "'=cmd()",
        "me@example.com",
        str(batch),
        "batch",
    )
    assert (row["addresses"], row["expected_credits"], row["charged_credits"], row["difference"]) == (
        "3",
        "3",
        "5",
        "2",
    )


@pytest.mark.parametrize("text", ["2026", "2026-13", "2026-00", "0000-01", "9999-12", "may", "2026-5", "2026-05-01"])
def test_what_is_no_month_is_refused_in_words(text: str) -> None:
    """The message shows how a month is written."""
    with pytest.raises(SettingRefused, match="is not a month; write it as 2026-05"):
        Month.of(text)


def test_the_month_before_january_is_december() -> None:
    """The report of January is about December of the year before."""
    assert str(Month.before(datetime(2026, 1, 1))) == "2025-12"  # noqa: DTZ001  # only its month counts
    assert str(Month.before(datetime(2026, 3, 31))) == "2026-02"  # noqa: DTZ001  # as above
