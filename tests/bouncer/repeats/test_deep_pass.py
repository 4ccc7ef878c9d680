"""The deep pass takes what the first one left risky, once, and the verdict that tells more counts."""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, update

from bouncer.credits.caps import set_cap, take_caps
from bouncer.errors import InputRefused
from bouncer.files.exporting import export_results
from bouncer.queue import claiming
from bouncer.queue.claiming import Claimed
from bouncer.repeats import deep_pass
from bouncer.repeats.deep_pass import Risk
from bouncer.repeats.reverification import Old, reverify
from bouncer.requests import cancelling
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Contact, Layer, QueuedContact, Request, Result
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.second_chances import count_second_chances
from tests.bouncer.contacts import (
    at_once,
    batch_rows,
    claim,
    load_verdicts,
    new_request,
    queue,
    queue_again,
    queue_rows,
    set_back,
    verdicts,
    verify,
)
from tests.bouncer.storage.existing_tables import rows

_DAY = 86_400


def _first_pass(engine: Engine, found: dict[str, dict[str, Any]], *, request: int | None = None) -> int:
    """Verifies addresses with these verdicts; returns their request."""
    request = new_request(engine) if request is None else request
    queue(engine, found, request_id=request)
    (batch,) = claim(engine, fresh_for=FreshFor(days=0)).batches
    answers = [verdict for address, fields in found.items() for verdict in verdicts([address], **fields)]
    load_verdicts(engine, verify(engine, batch.id), answers)
    return request


def _pick(engine: Engine, request: int, risk: Risk | None = None, *, again: bool = False) -> int:
    stretch = write(engine, deep_pass.pick_some, request, risk or Risk(), after=0, fresh_days=90, again=again)
    return stretch.picked


def _claim_deep(engine: Engine, account: str = "deep") -> Claimed:
    return write(engine, claiming.claim, account, batches=5, batch_size=100, fresh_for=FreshFor(), layer=Layer.DEEP)


def _deep_pass(engine: Engine, request: int, found: dict[str, dict[str, Any]], *, again: bool = False) -> None:
    assert _pick(engine, request, again=again) == len(found)
    (batch,) = _claim_deep(engine).batches
    answers = [verdict for address, fields in found.items() for verdict in verdicts([address], **fields)]
    load_verdicts(engine, verify(engine, batch.id), answers)


def _waiting(engine: Engine) -> list[str]:
    return [row.email for row in queue_rows(engine) if row.layer == "deep" and row.status == "queued"]


_ACCEPT_ALL = {"status": "risky", "score": 80, "domain": {"name": "x", "acceptAll": "yes"}}


# As Bouncer answers: in its documentation, and as seen with a real key (8 of 10 with acceptAll "yes" were deliverable).
_ANSWERS: dict[str, dict[str, Any]] = {
    "catch-all": {"status": "risky", "reason": "low_deliverability", "score": 80, "domain": {"acceptAll": "yes"}},
    "resolved": {"status": "deliverable", "reason": "accepted_email", "score": 90, "domain": {"acceptAll": "yes"}},
    "resolved-low": {"status": "deliverable", "reason": "accepted_email", "score": 60, "domain": {"acceptAll": "yes"}},
    "full": {"status": "risky", "reason": "low_deliverability", "score": 45, "account": {"fullMailbox": "yes"}},
    "disposable": {"status": "risky", "reason": "low_quality", "score": 69, "domain": {"disposable": "yes"}},
    "just": {"status": "risky", "reason": "low_quality", "score": 70, "domain": {"acceptAll": "no"}},
    "scoreless": {"status": "risky", "reason": "low_quality", "score": None, "domain": None},
    "perhaps": {"status": "risky", "reason": "low_quality", "score": 90, "domain": {"acceptAll": "unknown"}},
    "rejected": {"status": "undeliverable", "reason": "rejected_email", "score": 0, "domain": {"acceptAll": "no"}},
    "rejected-there": {"status": "undeliverable", "reason": "rejected_email", "domain": {"acceptAll": "yes"}},
    "broken": {"status": "undeliverable", "reason": "invalid_email"},
    "no-domain": {"status": "undeliverable", "reason": "invalid_domain", "score": 0},
    "timeout": {"status": "unknown", "reason": "timeout", "domain": {"acceptAll": "unknown"}},
    "greylisted": {"status": "unknown", "reason": "timeout", "retryAfter": "2022-11-24T09:55:09.029Z"},
    "dns": {"status": "unknown", "reason": "dns_error", "score": 0},
    "unclear": {"status": "unknown", "reason": "unknown", "score": 20},
    "unsupported": {"status": "unknown", "reason": "unsupported", "domain": {"acceptAll": "yes"}},
    "moved": {"status": "deferred", "reason": "mailbox_moved", "score": 10},
    "fine": {"status": "deliverable", "reason": "accepted_email", "score": 100, "domain": {"acceptAll": "no"}},
}
_BY_SCORE = ["full", "disposable", "dns", "unclear"]
_ALL = ["catch-all", "full", "disposable", "dns", "unclear", "unsupported"]


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(
    ("risk", "taken"),
    [
        (Risk(), _ALL),
        (Risk(score_below=50), ["catch-all", "full", "dns", "unclear", "unsupported"]),
        (Risk(score_below=None), ["catch-all", "unsupported"]),
        (Risk(accept_all=False), _BY_SCORE),
        (Risk(statuses=("risky",)), ["catch-all", "full", "disposable"]),
        (Risk(score_below=101, statuses=("deliverable", "undeliverable")), []),
        (
            Risk(score_below=None, accept_all=False, statuses=("unknown",)),
            ["timeout", "greylisted", "dns", "unclear", "unsupported"],
        ),
    ],
)
def test_only_doubt_is_bought(engine: Engine, risk: Risk, taken: list[str], again: bool) -> None:
    """Risky or unknown, and accept-all or a low score: an address that Bouncer has answered is never paid for again."""
    request = _first_pass(engine, {f"{name}@example.com": fields for name, fields in _ANSWERS.items()})
    assert _pick(engine, request, risk, again=again) == len(taken)
    assert _waiting(engine) == [f"{name}@example.com" for name in taken]


@pytest.mark.parametrize("answer", ["deliverable", "undeliverable", "risky", "unknown"])
def test_what_a_deep_pass_has_answered_is_not_bought_again(engine: Engine, answer: str) -> None:
    """Not even on demand, and not after a basic verdict that doubts again; but once the answer is old, it is."""
    request = _first_pass(engine, {"a@example.com": _ACCEPT_ALL})
    _deep_pass(engine, request, {"a@example.com": {"status": answer, "score": 60}})
    doubted = {"bouncer_status": "risky", "bouncer_score": 40}
    write(engine, lambda c: c.execute(update(Contact).values(doubted)))
    assert _pick(engine, request, again=True) == (answer in {"risky", "unknown"})
    if answer in {"deliverable", "undeliverable"}:
        long_ago = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=91)
        write(engine, lambda c: c.execute(update(Result).values(processed_ts=long_ago)))
        assert _pick(engine, request, again=True) == 1


def test_they_go_into_a_request_of_their_own(engine: Engine) -> None:
    """The first request keeps its contacts as they are; the deep one belongs to the same user and says whose it is."""
    request = _first_pass(engine, {"a@example.com": _ACCEPT_ALL})
    assert _pick(engine, request) == 1
    first, deep = read(engine, lambda c: c.execute(select(Request.__table__).order_by(Request.request_id)).all())
    assert (deep.name, deep.user_id, deep.bouncer_deep_of) == ("deep pass of request 1", first.user_id, request)
    basic_row, deep_row = queue_rows(engine)
    assert (basic_row.request_id, basic_row.status, deep_row.request_id) == (request, "completed", deep.request_id)
    assert read(engine, deep_pass.deep_request_of, request) == deep.request_id


def test_a_request_without_risky_contacts_gets_no_deep_pass(engine: Engine) -> None:
    """Nothing is made for nothing; and a request that does not exist is told."""
    request = _first_pass(engine, {"a@example.com": {"score": 99}})
    assert _pick(engine, request) == 0
    assert read(engine, deep_pass.deep_request_of, request) is None
    with pytest.raises(InputRefused, match="there is no request 4711"):
        _pick(engine, 4711)


def test_accounts_take_only_their_layer(engine: Engine) -> None:
    """A basic account leaves what waits for the deep one alone, and the other way round."""
    request = _first_pass(engine, {"a@example.com": _ACCEPT_ALL})
    _pick(engine, request)
    assert claim(engine) == Claimed()
    queue(engine, ["b@example.com"])
    (deep,) = _claim_deep(engine).batches
    (basic,) = claim(engine).batches
    assert [(row.id, row.account, row.layer) for row in batch_rows(engine)[1:]] == [
        (deep.id, "deep", "deep"),
        (basic.id, "default", "basic"),
    ]


def test_both_verdicts_are_kept_and_the_one_that_tells_more_counts(engine: Engine) -> None:
    """A deep verdict replaces the basic one in Contacts_Global, unless it is that nothing was found out."""
    request = _first_pass(engine, {"a@example.com": _ACCEPT_ALL, "b@example.com": _ACCEPT_ALL})
    _deep_pass(
        engine,
        request,
        {"a@example.com": {"status": "undeliverable", "score": 5}, "b@example.com": {"status": "unknown", "score": 0}},
    )
    results = rows(engine, "Bouncer_Results")["Bouncer_Results"]
    assert [(r["batch_id"], r["global_id"], r["bouncer_status"]) for r in results] == [
        (1, 1, "risky"),
        (1, 2, "risky"),
        (2, 1, "undeliverable"),
        (2, 2, "unknown"),
    ]
    a, b = read(engine, lambda c: c.execute(select(Contact.__table__).order_by(Contact.global_id)).all())
    assert (a.bouncer_status, a.bouncer_score, a.bouncer_batch_id) == ("undeliverable", 5, 2)
    assert (b.bouncer_status, b.bouncer_score, b.bouncer_batch_id) == ("risky", 80, 1)
    assert a.bouncer_deep_ts is not None
    assert b.bouncer_deep_ts is not None


@pytest.mark.parametrize(
    ("basic", "counts"),
    [
        ({"status": "risky", "score": 40}, "deliverable"),
        ({"status": "unknown"}, "deliverable"),
        ({"status": "undeliverable", "score": 0}, "undeliverable"),
        ({"status": "deliverable", "score": 95}, "deliverable"),
    ],
)
def test_a_basic_verdict_that_leaves_doubt_does_not_replace_a_fresh_deep_one(
    engine: Engine, basic: dict[str, Any], counts: str
) -> None:
    """While the deep verdict is good, a later basic one counts only if it is certain; nobody asks a third time."""
    request = _first_pass(engine, {"a@example.com": _ACCEPT_ALL})
    _deep_pass(engine, request, {"a@example.com": {"status": "deliverable", "score": 90}})
    queue_again(engine, [1])
    write(engine, lambda c: c.execute(update(QueuedContact).values(verdict_after_ts=func.current_timestamp())))
    (batch,) = claim(engine).batches
    load_verdicts(engine, verify(engine, batch.id), verdicts(["a@example.com"], **basic))
    (contact,) = read(engine, lambda c: c.execute(select(Contact.__table__)).all())
    is_certain = basic["status"] in {"deliverable", "undeliverable"}
    assert (contact.bouncer_status, contact.bouncer_batch_id) == (counts, batch.id if is_certain else 2)
    assert read(engine, count_second_chances) == 0


def test_a_basic_verdict_replaces_a_deep_one_that_has_grown_old(engine: Engine) -> None:
    """After its time a deep verdict is no better than a new basic one."""
    request = _first_pass(engine, {"a@example.com": _ACCEPT_ALL})
    _deep_pass(engine, request, {"a@example.com": {"status": "deliverable", "score": 90}})
    set_back(engine, Contact.bouncer_verified_ts, 91 * _DAY)
    queue_again(engine, [1])
    (batch,) = claim(engine).batches
    load_verdicts(engine, verify(engine, batch.id), verdicts(["a@example.com"], **_ACCEPT_ALL))
    (contact,) = read(engine, lambda c: c.execute(select(Contact.__table__)).all())
    assert (contact.bouncer_status, contact.bouncer_batch_id) == ("risky", batch.id)


@pytest.mark.parametrize(("age", "queued"), [(80, 0), (100, 1)])
def test_a_fresh_deep_verdict_is_not_verified_again_in_vain(engine: Engine, age: int, queued: int) -> None:
    """Re-verification would pay each night for a basic verdict that does not count."""
    request = _first_pass(engine, {"a@example.com": _ACCEPT_ALL})
    _deep_pass(engine, request, {"a@example.com": {"status": "deliverable", "score": 90}})
    set_back(engine, Contact.bouncer_verified_ts, age * _DAY)
    assert reverify(engine, Old(60), monthly_budget=10).contacts == queued


def test_no_contact_is_looked_at_twice_unless_asked(engine: Engine) -> None:
    """While it waits, and after it has a deep verdict, it is not taken again; on demand it is, if it is still risky."""
    request = _first_pass(engine, {"a@example.com": _ACCEPT_ALL, "b@example.com": _ACCEPT_ALL})
    _deep_pass(engine, request, {"a@example.com": {"score": 99}, "b@example.com": _ACCEPT_ALL})
    assert _pick(engine, request) == 0
    assert _pick(engine, request, again=True) == 1
    assert _waiting(engine) == ["b@example.com"]
    assert _pick(engine, request, again=True) == 0
    # Asked for again, it is verified again, although there is a deep verdict of this very day.
    assert [batch.quantity for batch in _claim_deep(engine).batches] == [1]


def test_a_deep_verdict_grows_old(engine: Engine) -> None:
    """After RESULT_MAX_AGE_DAYS a contact that is risky again is looked at again."""
    request = _first_pass(engine, {"a@example.com": _ACCEPT_ALL})
    _deep_pass(engine, request, {"a@example.com": _ACCEPT_ALL})
    set_back(engine, Contact.bouncer_deep_ts, 91 * _DAY)
    assert _pick(engine, request) == 1


def test_a_twin_takes_the_deep_verdict_that_there_is(engine: Engine) -> None:
    """Another contact with the address is not paid for again in the deep pass, nor does a basic verdict do for it."""
    request = _first_pass(engine, {"a@example.com": _ACCEPT_ALL})
    queue(engine, ["A@example.com"])
    assert claim(engine).reused == 1
    twins_request = queue_rows(engine)[-1].request_id
    assert _pick(engine, twins_request) == 1
    _deep_pass(engine, request, {"a@example.com": {"status": "deliverable", "score": 90}})
    _claim_deep(engine)
    statuses = {(row.email, row.bouncer_status, row.status) for row in queue_rows(engine) if row.layer == "deep"}
    assert statuses == {
        ("a@example.com", "deliverable", "completed"),
        ("A@example.com", "deliverable", "completed"),
    }
    assert sum(row.quantity for row in batch_rows(engine) if row.layer == "deep") == 1


def test_an_imported_twin_takes_the_verdict_that_counts(engine: Engine) -> None:
    """Where the deep pass found nothing out, a later contact with the address gets the basic verdict in full."""
    request = _first_pass(engine, {"a@example.com": _ACCEPT_ALL})
    _deep_pass(engine, request, {"a@example.com": {"status": "unknown", "score": 0}})
    queue(engine, ["A@example.com"])
    assert claim(engine).reused == 1
    late = queue_rows(engine)[-1]
    assert (late.bouncer_status, late.batch_id, late.bouncer_score) == ("risky", 1, 80)
    assert late.bouncer_deep_ts is not None


def test_deep_contacts_do_not_join_a_basic_batch(engine: Engine) -> None:
    """An address that is on its way through the first pass again does not do for one that waits for the deep pass."""
    request = _first_pass(engine, {"a@example.com": _ACCEPT_ALL})
    _pick(engine, request)
    queue_again(engine, [1])
    write(engine, lambda c: c.execute(update(Contact).values(bouncer_verified_ts=None, bouncer_status=None)))
    assert [batch.quantity for batch in claim(engine).batches] == [1]
    assert [batch.quantity for batch in _claim_deep(engine).batches] == [1]


def test_picking_at_once_picks_each_contact_once(engine: Engine) -> None:
    """Two runs at the same time, as by event and by hand, queue no contact twice."""
    request = _first_pass(engine, {f"a{number}@example.com": _ACCEPT_ALL for number in range(20)})
    assert sum(at_once([lambda: _pick(engine, request)] * 4)) == 20
    assert len(_waiting(engine)) == 20
    assert len({row.request_id for row in queue_rows(engine) if row.layer == "deep"}) == 1


def test_a_deep_pass_counts_against_its_requests_cap(engine: Engine) -> None:
    """No more is picked than the cap leaves room for, and none is sent beyond it; the credits of both passes count."""
    found = {f"a{number}@example.com": _ACCEPT_ALL for number in range(10)}
    request = _first_pass(engine, found)
    write(engine, set_cap, request, 10)
    assert _pick(engine, request) == 0
    assert read(engine, deep_pass.deep_request_of, request) is None
    write(engine, set_cap, request, 14)
    assert _pick(engine, request) == 4
    assert _pick(engine, request) == 0
    write(engine, set_cap, request, 12)
    (batch,) = _claim_deep(engine).batches
    assert batch.quantity == 2
    assert "reached its cap" in _claim_deep(engine).capped[0]
    (cap,) = [cap for cap in read(engine, take_caps) if cap.request_id == request]
    assert (cap.committed, cap.is_reached) == (12, True)


def test_a_cancelled_request_gets_no_deep_pass(engine: Engine) -> None:
    """It is announced as complete too, but nobody wants its contacts verified any more."""
    request = _first_pass(engine, {"a@example.com": _ACCEPT_ALL})
    write(engine, cancelling.mark, request, by="me", reason="the wrong list")
    assert _pick(engine, request) == 0
    write(engine, cancelling.unmark, request)
    assert _pick(engine, request) == 1


@pytest.mark.parametrize("of_request", [True, False])
def test_an_export_has_both_verdicts_on_one_line(engine: Engine, tmp_path: Path, of_request: bool) -> None:
    """The deep verdict stands beside the first one; a contact that needed none has empty cells, and one line."""
    request = _first_pass(
        engine, {"a@example.com": _ACCEPT_ALL, "b@example.com": {"status": "deliverable", "score": 95}}
    )
    _deep_pass(engine, request, {"a@example.com": {"status": "undeliverable", "reason": "rejected_email", "score": 0}})
    export_results(engine, tmp_path / "out.csv", request_id=request if of_request else None)
    with (tmp_path / "out.csv").open(newline="") as file:
        a, b = csv.DictReader(file)
    assert (a["status"], a["accept_all"], a["score"]) == ("risky", "yes", "80")
    assert (a["deep_status"], a["deep_reason"], a["deep_score"]) == ("undeliverable", "rejected_email", "0")
    assert a["deep_verified_at"].endswith("Z")
    assert (b["status"], b["deep_status"], b["deep_verified_at"]) == ("deliverable", "", "")
