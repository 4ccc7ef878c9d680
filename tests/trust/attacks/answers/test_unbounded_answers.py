"""Whoever answers in Bouncer's place, or Bouncer on a bad day, sends more or odder things than a program can hold."""

import json
import tracemalloc
from datetime import UTC, datetime

import pytest

from bouncer.api.answers import Credits, TooManyVerdicts, verdicts_in
from bouncer.api.client import BouncerClient
from bouncer.api.failures import RETRY_AFTER_CAP_SECONDS, until_told
from bouncer.errors import DownloadTruncated
from tests.bouncer.api.caller import Gate
from tests.trust.answering import answering

_NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_MEGABYTES = 1_000_000
_WHOLE = {
    "email": "someone@example.com",
    "status": "deliverable",
    "reason": "accepted_email",
    "domain": {"name": "example.com", "acceptAll": "no", "disposable": "no", "free": "no"},
    "account": {"role": "no", "disabled": "no", "fullMailbox": "no"},
    "dns": {"type": "MX", "record": "mx.example.com."},
    "provider": "example.com",
    "score": 100,
    "toxic": "unknown",
    "toxicity": 0,
}


@pytest.mark.parametrize(
    "element", ["{}", "1", "[]", "null", '""', '{"email": "a@b.com"}', "[1,1,1]", '{"a":{"b":{}}}']
)
@pytest.mark.parametrize("quantity", [1, 100, 5_000])
def test_far_more_elements_than_were_asked_for_are_not_typed(element: str, quantity: int) -> None:
    """A million of `{}` are 3 MB and took 137 MB; what is allowed in bytes would have been gigabytes."""
    body = f"[{','.join([element] * 1_000_000)}]".encode()
    tracemalloc.start()
    try:
        with pytest.raises(TooManyVerdicts):
            verdicts_in(body, quantity)
        assert tracemalloc.get_traced_memory()[1] < 20 * _MEGABYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("quantity", [1, 100, 2_000])
def test_what_was_asked_for_is_typed(quantity: int) -> None:
    """All of it, with room for answers that Bouncer doubles and for fields that it adds."""
    more = {f"field{number}": number for number in range(40)}
    body = json.dumps([{**_WHOLE, **more}] * quantity * 2).encode()
    assert len(verdicts_in(body, quantity)) == 2 * quantity


async def test_a_download_that_is_far_too_long_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as one that cannot be read: it is tried again, and nothing of it is loaded."""
    monkeypatch.setattr("bouncer.api.client.ATTEMPTS", 1)

    async def source() -> str:
        return "some-key"

    with answering(b"[" + b"{}," * 50_000 + b"{}]") as port:
        async with BouncerClient(f"http://127.0.0.1:{port}/v1.1", source, Gate()) as client:
            with pytest.raises(DownloadTruncated, match="far more verdicts than 10"):
                await client.download("some-batch", 10)


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("3000000000", 2**31 - 1),
        ("9" * 400, 2**31 - 1),
        ("1e300", 2**31 - 1),
        ("-5", 0),
        ("0", 0),
        ('"41"', 41),
        ("41.9", 41),
    ],
)
def test_credits_beyond_what_a_column_holds_are_plenty(told: str, kept: int) -> None:
    """Three billion credits were taken for none, and the account was paused."""
    assert Credits.model_validate_json(f'{{"credits": {told}}}').credits == kept


@pytest.mark.parametrize(
    "header",
    [
        *(
            "-1",
            "-1e9",
            "1e9",
            "1e400",
            "inf",
            "-inf",
            "nan",
            "0x10",
            "1_000",
            "+5",
            "\u0661\u0662",
            "5;",
            "5, 5",
            "5 s",
        ),
        *("Mon, 01 Jan 0001 00:00:00 +2359", "Fri, 31 Dec 9999 23:59:59 -2359", "Thu, 01 Jan 1970 00:00:00 GMT"),
        *("Mon, 01 Jan 99999 00:00:00 GMT", "x" * 100_000, "1" * 100_000, "\0", "Mon, 01 Jan 2026 25:61:61 GMT"),
    ],
)
def test_odd_times_to_wait_are_no_reason_to_hurry_or_to_hang(header: str) -> None:
    """One that is negative or long past was taken for none at all: a request every half second."""
    told = until_told(header, _NOW)
    assert told is None or 0 < told <= RETRY_AFTER_CAP_SECONDS


@pytest.mark.parametrize(("header", "seconds"), [("0", 0), ("7", 7), ("9" * 90, RETRY_AFTER_CAP_SECONDS)])
def test_usual_times_to_wait_are_believed(header: str, seconds: float) -> None:
    """Within the bound."""
    assert until_told(header, _NOW) == seconds
