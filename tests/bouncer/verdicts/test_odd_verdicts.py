"""Whatever Bouncer puts into a verdict, its contact gets it, and so do all the others of the batch."""

import json
from typing import Any

import pytest
from sqlalchemy import Engine

from bouncer.batches.state import BatchWork
from tests.bouncer.contacts import claim, load_verdicts, queue, queue_rows, verdicts, verify
from tests.bouncer.storage.existing_tables import rows

_ODD_FIELDS: list[dict[str, Any]] = [
    {"status": 42, "reason": 7, "provider": True, "toxic": 1, "didYouMean": 1.5},
    {"provider": {"a": 1}, "toxic": [], "didYouMean": {}},
    {"provider": "", "toxic": "", "didYouMean": "", "retryAfter": ""},
    {"score": "87", "toxicity": "3"},
    {"score": 3.9, "toxicity": 2.9},
    {"score": "high", "toxicity": [], "domain": "example.com", "account": 1, "dns": [1]},
    {"score": 10**400, "toxicity": -(10**12), "domain": {"size": 10**30}},
    {"score": float("inf"), "toxicity": float("nan"), "domain": {"size": float("inf")}},
    {"score": True, "toxicity": False},
    {"retryAfter": "soon"},
    {"retryAfter": 1234567890},
    {"retryAfter": "9999-12-31T23:59:59Z"},
    {"retryAfter": "0001-01-01T00:00:00+14:00"},
    {"retryAfter": "1969-12-31T23:59:59Z"},
    {"didYouMean": "x" * 5_000, "provider": "p" * 5_000, "toxic": "t" * 5_000, "domain": {"name": "d" * 100_000}},
]


def _verified(engine: Engine, addresses: list[str]) -> BatchWork:
    queue(engine, addresses)
    (batch,) = claim(engine).batches
    return verify(engine, batch.id)


def _odd(engine: Engine, address: str = "anna@example.com", **fields: Any) -> dict[str, Any]:
    """Loads a verdict with odd fields beside a plain one, and returns what is stored of the odd one."""
    work = _verified(engine, [address, "plain@example.com"])
    report = load_verdicts(engine, work, verdicts([address], **fields) + verdicts(["plain@example.com"]))
    assert (report.settled, report.missing, report.unmatched) == (2, 0, 0)
    stored = {row["global_id"]: row for row in rows(engine, "Bouncer_Results")["Bouncer_Results"]}
    return stored[queue_rows(engine)[0].global_id]


def test_missing_scores_are_not_zero_and_unknown_is_not_catch_all(engine: Engine) -> None:
    """What Bouncer did not tell stays untold: null is not 0, and acceptAll unknown is not yes."""
    stored = _odd(engine, score=None, toxicity=None, domain={"acceptAll": "unknown"})
    assert (stored["score"], stored["toxicity"]) == (None, None)
    assert json.loads(stored["domain_info"]) == {"acceptAll": "unknown"}
    assert queue_rows(engine)[0].bouncer_score is None


def test_verdicts_without_a_domain_do_not_fail_the_batch(engine: Engine) -> None:
    """A missing domain, once read as result.domain.acceptAll, spoils neither its own verdict nor the others."""
    addresses = [f"a{number}@example.com" for number in range(6)]
    work = _verified(engine, addresses)
    domains: list[dict[str, Any]] = [
        {},
        {"domain": None},
        {"domain": {}},
        {"domain": []},
        {"domain": "example.com"},
        {"domain": 1},
    ]
    answers = [answer for a, d in zip(addresses, domains, strict=True) for answer in verdicts([a], **d)]
    assert load_verdicts(engine, work, answers).settled == 6
    stored = rows(engine, "Bouncer_Results")["Bouncer_Results"]
    assert [row["domain_info"] for row in stored] == [None, None, "{}", None, None, None]


def test_unknown_verdicts_are_stored_as_they_came(engine: Engine) -> None:
    """Statuses and reasons that are in no documentation are kept word for word, as long as the column allows."""
    stored = _odd(engine, status="mailbox_moved" * 10, reason="Grey-listed: ünïcödé " * 10)
    assert stored["bouncer_status"] == ("mailbox_moved" * 10)[:50]
    assert stored["bouncer_reason"] == ("Grey-listed: ünïcödé " * 10)[:100]
    contact = queue_rows(engine)[0]
    assert (contact.bouncer_status, contact.bouncer_reason) == (stored["bouncer_status"], stored["bouncer_reason"])


def test_emoji_do_not_break_a_load(engine: Engine) -> None:
    """Characters that the plan's utf8mb3 columns cannot hold are replaced, where the load once failed for ever."""
    stored = _odd(
        engine, status="ok😀", reason="mail😀box", provider="😀" * 200, toxic="no\0", didYouMean="a😀@example.com"
    )
    assert (stored["bouncer_status"], stored["bouncer_reason"]) == ("ok\ufffd", "mail\ufffdbox")
    assert (stored["provider"], stored["toxic"]) == ("\ufffd" * 100, "no\ufffd")
    assert stored["did_you_mean"] == "a\ufffd@example.com"


def test_emoji_in_details_are_kept(engine: Engine) -> None:
    """JSON columns hold every character."""
    stored = _odd(engine, domain={"name": "😀.example"})
    assert json.loads(stored["domain_info"]) == {"name": "😀.example"}


def test_odd_fields_do_not_break_a_load(engine: Engine) -> None:
    """Whatever type or size a field has, all contacts get their verdicts; what makes no sense is left out or cut."""
    addresses = [f"a{number}@example.com" for number in range(len(_ODD_FIELDS))]
    work = _verified(engine, addresses)
    answers = [answer for a, f in zip(addresses, _ODD_FIELDS, strict=True) for answer in verdicts([a], **f)]
    assert load_verdicts(engine, work, answers).settled == len(addresses)
    assert [row.bouncer_status for row in queue_rows(engine)] == [
        str(f.get("status") or "deliverable") for f in _ODD_FIELDS
    ]
    scores = [row.bouncer_score for row in queue_rows(engine)]
    assert [score for score in scores if score is not None] == [87, 3]


def _nested(levels: int) -> dict[str, Any]:
    # Every other level is a list, and nothing of a level but its last part goes deeper.
    value: Any = 1
    for level in range(levels - 1):
        value = [0, value] if level % 2 else {"flat": 0, "deep": value}
    return {"flat": 0, "deep": value}


@pytest.mark.parametrize(("levels", "kept"), [(1, True), (16, True), (17, False), (60, False)])
def test_details_are_kept_to_a_depth(engine: Engine, levels: int, kept: bool) -> None:
    """Sixteen levels are stored; MariaDB would refuse 33, and with them the batch."""
    # Many brackets are not many levels.
    domain = {**_nested(levels), "many": [[0]] * 20}
    stored = _odd(engine, domain=domain)["domain_info"]
    assert (stored and json.loads(stored)) == (domain if kept else None)


@pytest.mark.parametrize(("levels", "kept"), [(16, True), (17, False)])
def test_details_are_kept_to_a_depth_also_without_lists(engine: Engine, levels: int, kept: bool) -> None:
    """Objects in objects are levels too."""
    domain: dict[str, Any] = {"deep": 1}
    for _ in range(levels - 1):
        domain = {"deep": domain}
    assert (_odd(engine, domain=domain)["domain_info"] is not None) == kept


@pytest.mark.parametrize(
    ("moment", "kept"),
    [
        ("1970-12-31T23:59:59Z", False),
        ("1971-01-01T00:00:00Z", True),
        ("2037-12-31T23:59:59Z", True),
        ("2038-01-01T00:00:00Z", False),
    ],
)
def test_moments_are_kept_that_a_timestamp_can_hold(engine: Engine, moment: str, kept: bool) -> None:
    """Others would be refused by MariaDB, and with them the batch."""
    assert (_odd(engine, retryAfter=moment)["retry_after_ts"] is not None) == kept


@pytest.mark.parametrize(("length", "kept"), [(200_000, True), (200_001, False)])
def test_details_are_kept_to_a_length(engine: Engine, length: int, kept: bool) -> None:
    """200,000 bytes are stored; longer ones could pass what the server takes in one statement."""
    stored = _odd(engine, domain={"name": "x" * (length - len('{"name":""}'))})["domain_info"]
    assert (stored is not None) == kept
