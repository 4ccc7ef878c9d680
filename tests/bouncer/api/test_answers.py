"""What Bouncer sends is read, whatever is missing, null, new or of another type than documented."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from bouncer.api.answers import BatchCreated, BatchProgress, Credits, Verdict, VerdictList


def test_a_whole_verdict() -> None:
    """A verdict as documented is read in full, and fields beyond the documentation are no error."""
    (verdict,) = VerdictList.validate_json(
        """[{"email": "anna@example.com", "status": "risky", "reason": "low_quality", "name": "",
            "domain": {"name": "example.com", "acceptAll": "unknown", "disposable": "no", "free": "no"},
            "account": {"role": "no", "disabled": "no", "fullMailbox": "unknown"},
            "dns": {"type": "MX", "record": "mx.example.com."}, "provider": "google", "score": 0, "toxic": "no",
            "toxicity": 0, "retryAfter": "2026-03-01T12:00:00.5Z", "didYouMean": "anne@example.com", "new": [1]}]"""
    )
    assert asdict(verdict) == {
        "email": "anna@example.com",
        "status": "risky",
        "reason": "low_quality",
        "domain": {"name": "example.com", "acceptAll": "unknown", "disposable": "no", "free": "no"},
        "account": {"role": "no", "disabled": "no", "fullMailbox": "unknown"},
        "dns": {"type": "MX", "record": "mx.example.com."},
        "provider": "google",
        "score": 0,
        "toxic": "no",
        "toxicity": 0,
        "retry_after": datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC),
        "did_you_mean": "anne@example.com",
    }


def test_nothing_but_an_address_a_status_and_a_reason() -> None:
    """Everything else can be missing or null, and stays untold: a missing score is not 0."""
    sparse, nulls = VerdictList.validate_json(
        """[{"email": "a@example.com", "status": "unknown", "reason": "timeout"},
            {"email": "a@example.com", "status": "unknown", "reason": "timeout", "domain": null, "account": null,
             "dns": null, "provider": null, "score": null, "toxic": null, "toxicity": null, "retryAfter": null,
             "didYouMean": null}]"""
    )
    assert asdict(sparse) == asdict(nulls) == asdict(Verdict(email="a@example.com", status="unknown", reason="timeout"))
    assert sparse.is_whole
    assert nulls.is_whole
    assert (sparse.score, sparse.domain, sparse.retry_after) == (None, None, None)


def test_one_odd_element_does_not_spoil_a_download() -> None:
    """Elements that are no verdicts at all are read as verdicts on no address, which are counted, not fatal."""
    verdicts = VerdictList.validate_json('[null, 1, "text", [], {}, {"email": null, "status": null}, {"email": 5}]')
    assert [verdict.email for verdict in verdicts] == ["", "", "", "", "", "", "5"]
    assert not any(verdict.is_whole for verdict in verdicts)


@pytest.mark.parametrize("lacking", ["email", "status", "reason"])
@pytest.mark.parametrize("told", [None, "", [], {}])
def test_without_address_status_and_reason_it_is_no_verdict(lacking: str, told: Any) -> None:
    """The three that Bouncer documents as always there make a verdict; two of them make none."""
    whole = {"email": "a@example.com", "status": "risky", "reason": "low_quality"}
    there, null, absent = VerdictList.validate_python(
        [whole, {**whole, lacking: told}, {field: value for field, value in whole.items() if field != lacking}]
    )
    assert [verdict.is_whole for verdict in (there, null, absent)] == [True, False, False]


@pytest.mark.parametrize("body", ["", "[", '[{"email": "a@ex', "{}", "null", '{"results": []}', "<html></html>"])
def test_what_is_no_list_is_refused(body: str) -> None:
    """A body that is no whole JSON array is no download."""
    with pytest.raises(ValidationError):
        VerdictList.validate_json(body)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (42, 42),
        (0, 0),
        ("42", 42),
        (42.9, 42),
        (-1, -1),
        (True, None),
        ("high", None),
        ("", None),
        (None, None),
        ([], None),
        (float("nan"), None),
        (float("-inf"), None),
        (2**31, None),
        (10**400, None),
        ("1e400", None),
    ],
)
def test_numbers(value: Any, read: int | None) -> None:
    """Numbers in other dress are read; what is none, or fits no column, counts as not told."""
    assert Verdict(email="a", score=value).score == read


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01T12:00:00+02:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01T12:00:00", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("soon", None),
        ("", None),
        (1772366400, None),
        (None, None),
    ],
)
def test_moments(value: Any, read: datetime | None) -> None:
    """Times are taken to UTC; one without a zone is in UTC; what is none counts as not told."""
    assert VerdictList.validate_python([{"email": "a", "retryAfter": value}])[0].retry_after == read


@pytest.mark.parametrize(
    ("status", "completed"),
    [
        ("completed", True),
        (" Completed ", True),
        ("queued", False),
        ("processing", False),
        ("failed", False),
        ("deferred", False),
        ("", False),
        (42, False),
        (None, False),
    ],
)
def test_statuses_of_a_batch(status: Any, completed: bool) -> None:
    """One status says that results can be had; any other, known or not, means wait."""
    assert BatchProgress(status=status).is_completed == completed


def test_progress() -> None:
    """How far a batch is and what it cost is read where it is told."""
    told = BatchProgress.model_validate_json('{"batchId": "b", "status": "completed", "processed": "7", "credits": 5}')
    assert (told.processed, told.credits) == (7, 5)
    assert BatchProgress(status="processing", processed="many", credits=[]) == BatchProgress(status="processing")
    with pytest.raises(ValidationError):
        BatchProgress.model_validate_json('{"processed": 7}')


@pytest.mark.parametrize(
    ("body", "batch_id", "duplicates"),
    [
        ('{"batchId": "64a0", "created": "2026-03-01", "status": "queued", "quantity": 3, "duplicates": 1}', "64a0", 1),
        ('{"batchId": 12345}', "12345", 0),
        ('{"requestId": "64a0"}', "64a0", 0),
        ('{"requestid": "64a0", "duplicates": 2}', "64a0", 2),
        ('{"batchId": "64a0", "duplicates": null}', "64a0", 0),
        ('{"batchId": "64a0", "duplicates": -1}', "64a0", 0),
    ],
)
def test_the_answer_to_an_upload(body: str, batch_id: str, duplicates: int) -> None:
    """The id is all that matters, as text or as a number: an id that is not read is a batch paid for nothing."""
    assert BatchCreated.model_validate_json(body) == BatchCreated(batch_id=batch_id, duplicates=duplicates)


@pytest.mark.parametrize("body", ["{}", '{"batchId": null}', '{"batchId": ""}', '{"batchId": []}', '{"batchId": "b'])
def test_an_answer_without_an_id(body: str) -> None:
    """Without an id it is unknown what became of the upload."""
    with pytest.raises(ValidationError):
        BatchCreated.model_validate_json(body)


@pytest.mark.parametrize(("told", "left"), [(5, 5), ("5", 5), (0, 0), (-3, 0), (None, 0), ("many", 0)])
def test_credits(told: Any, left: int) -> None:
    """Credits are a count; what is none counts as no credits."""
    assert Credits(credits=told).credits == left
