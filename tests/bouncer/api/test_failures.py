"""What each failure of a call means, how long it is waited, and what of Bouncer's words may be shown."""

from collections.abc import Iterable
from datetime import UTC, datetime

import httpx
import pytest
from tenacity import Future, RetryCallState, Retrying

from bouncer.accounts.call_statistics import Call
from bouncer.api.failures import (
    PAID,
    RETRY_AFTER_CAP_SECONDS,
    WINDOW_SECONDS,
    WORTH_ANOTHER_ATTEMPT,
    between_attempts,
    error_of_answer,
    error_of_transport,
    until_told,
    wait_as_told,
)
from bouncer.errors import (
    AddressesRefused,
    BatchLost,
    BatchNotCompleted,
    BouncerFlowsError,
    BouncerUnavailable,
    DownloadTruncated,
    FinishRefused,
    KeyRefused,
    OutOfCredits,
    RateLimited,
    UnexpectedAnswer,
    UploadOutcomeUnknown,
)
from bouncer.safe_text import clean_message

_NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
_OF_BATCHES = (Call.STATUS, Call.DOWNLOAD, Call.FINISH)


@pytest.mark.parametrize(
    ("calls", "status", "message", "expected"),
    [
        (Call, 429, "too many requests", RateLimited),
        (PAID, 402, "12 credits left", OutOfCredits),
        ([*_OF_BATCHES, Call.CREDITS], 402, "12 credits left", UnexpectedAnswer),
        (Call, 401, "user not found", KeyRefused),
        (Call, 403, "forbidden", KeyRefused),
        (Call, 503, "", BouncerUnavailable),
        ([Call.CREATE], 500, "", UploadOutcomeUnknown),
        ([Call.CREATE], 502, "", UploadOutcomeUnknown),
        ([Call.CREATE], 504, "", UploadOutcomeUnknown),
        ([Call.CREATE], 599, "", UploadOutcomeUnknown),
        ([*_OF_BATCHES, Call.CREDITS], 500, "", BouncerUnavailable),
        ([*_OF_BATCHES, Call.CREDITS], 502, "", BouncerUnavailable),
        ([*_OF_BATCHES, Call.CREDITS], 504, "", BouncerUnavailable),
        ([Call.CREATE], 400, "too many emails", AddressesRefused),
        ([Call.CREATE], 413, "", AddressesRefused),
        ([Call.CREATE], 422, "", AddressesRefused),
        (_OF_BATCHES, 404, "batch not found", BatchLost),
        (_OF_BATCHES, 410, "", BatchLost),
        ([Call.STATUS, Call.DOWNLOAD], 405, "batch is not completed", BatchNotCompleted),
        ([Call.STATUS, Call.DOWNLOAD], 400, "processing is not completed yet", BatchNotCompleted),
        ([Call.STATUS, Call.DOWNLOAD], 409, "", BatchNotCompleted),
        ([Call.FINISH], 400, "batch has to be running to finish", FinishRefused),
        ([Call.FINISH], 405, "", FinishRefused),
        ([Call.FINISH], 409, "", FinishRefused),
        (Call, 0, "something", UnexpectedAnswer),
        (_OF_BATCHES, 405, "email addresses and results have been REMOVED", BatchLost),
        ([Call.CREATE, Call.CREDITS], 404, "", UnexpectedAnswer),
        ([Call.CREDITS], 400, "", UnexpectedAnswer),
        (Call, 301, "", UnexpectedAnswer),
        (Call, 418, "", UnexpectedAnswer),
    ],
)
def test_answers(calls: Iterable[Call], status: int, message: str, expected: type[BouncerFlowsError]) -> None:
    """Each answer means the outcome that is safe: an upload counts as failed only where it certainly did."""
    for call in calls:
        error = error_of_answer(call, status, message, 7.0)
        assert type(error) is expected, call
        if isinstance(error, RateLimited):
            assert str(error).startswith("Bouncer answered 429, too many requests")
        else:
            assert str(error).startswith(f"Bouncer answered {status} to {call}: ")


@pytest.mark.parametrize(
    ("error", "call", "expected"),
    [
        (httpx.ConnectError("refused"), Call.CREATE, BouncerUnavailable),
        (httpx.ConnectTimeout("slow"), Call.CREATE, BouncerUnavailable),
        (httpx.PoolTimeout("full"), Call.CREATE, BouncerUnavailable),
        (httpx.ProxyError("407"), Call.CREATE, BouncerUnavailable),
        (httpx.UnsupportedProtocol("htp://"), Call.CREATE, BouncerUnavailable),
        (httpx.ReadError("reset"), Call.CREATE, UploadOutcomeUnknown),
        (httpx.ReadTimeout("slow"), Call.CREATE, UploadOutcomeUnknown),
        (httpx.WriteError("reset"), Call.CREATE, UploadOutcomeUnknown),
        (httpx.WriteTimeout("slow"), Call.CREATE, UploadOutcomeUnknown),
        (httpx.RemoteProtocolError("cut"), Call.CREATE, UploadOutcomeUnknown),
        (TimeoutError(), Call.CREATE, UploadOutcomeUnknown),
        (httpx.RemoteProtocolError("cut"), Call.DOWNLOAD, DownloadTruncated),
        (httpx.ReadError("reset"), Call.STATUS, BouncerUnavailable),
        (httpx.ConnectError("refused"), Call.DOWNLOAD, BouncerUnavailable),
        (TimeoutError(), Call.CREDITS, BouncerUnavailable),
    ],
    ids=repr,
)
def test_broken_connections(error: Exception, call: Call, expected: type[BouncerFlowsError]) -> None:
    """An upload that broke after the connection was made may have been paid for; one that was never made was not."""
    meant = error_of_transport(call, error)
    assert type(meant) is expected
    assert type(error).__name__ in str(meant)


def test_429_tells_how_long_to_wait() -> None:
    """What Bouncer told is kept; a wait of its own would be longer or shorter than asked."""
    error = error_of_answer(Call.STATUS, 429, "", 7.0)
    assert isinstance(error, RateLimited)
    assert error.retry_after == 7.0


def test_an_answer_without_a_message_says_so() -> None:
    """Nobody looks for the end of a sentence that has none."""
    assert str(error_of_answer(Call.STATUS, 418, " ", None)) == "Bouncer answered 418 to status: no message"


def test_a_refused_key_says_where_to_mend_it() -> None:
    """Whoever reads that the key is wrong also reads where the right one goes."""
    refused = str(error_of_answer(Call.CREDITS, 401, "user not found", None))
    assert "block bouncer-account" in refused
    assert "BOUNCER_API_KEY" in refused


def test_an_upload_of_unknown_outcome_is_never_sent_again_by_itself() -> None:
    """AMBIGUOUS_UPLOAD decides about it, not a retry."""
    assert not issubclass(UploadOutcomeUnknown, WORTH_ANOTHER_ATTEMPT)
    assert not issubclass(RateLimited, WORTH_ANOTHER_ATTEMPT)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("-3", None),
        ("999999999", RETRY_AFTER_CAP_SECONDS),
        ("inf", None),
        ("nan", None),
        ("", None),
        ("soon", None),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30),
        ("Sun, 01 Mar 2026 12:00:30", 30),
        ("Sun, 01 Mar 2026 13:00:30 +0100", 30),
        ("Sun, 01 Mar 2026 11:00:00 GMT", None),
        ("Sun, 01 Mar 2099 11:00:00 GMT", RETRY_AFTER_CAP_SECONDS),
        ("Sun, 01 Mar 99999999999999 11:00:00 GMT", None),
        ("Sun, 99 Mar 2026 11:00:00 GMT", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    """Retry-After is read in both its forms, within bounds, and nonsense counts as not told."""
    assert until_told(header, _NOW) == seconds


@pytest.mark.parametrize(("told", "seconds"), [(None, WINDOW_SECONDS), (7.0, 7.0), (0.0, 0.5), (120.0, 120.0)])
def test_wait_after_429(told: float | None, seconds: float) -> None:
    """A 429 is waited out as Bouncer told, else until its window of a minute has passed; never in a tight loop."""
    assert wait_as_told(_after(RateLimited(told), attempt=1)) == seconds


def test_wait_between_attempts() -> None:
    """Attempts are 2 s apart, then 4 s, and so on up to half a minute, with up to a second of jitter."""
    waits = [between_attempts(_after(BouncerUnavailable("away"), attempt)) for attempt in (1, 2, 3, 9)]
    for wait, base in zip(waits, (2, 4, 8, 30), strict=True):
        assert base <= wait <= base + 1


def _after(error: Exception, attempt: int) -> RetryCallState:
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempt
    state.outcome = Future(attempt)
    state.outcome.set_exception(error)
    return state


@pytest.mark.parametrize(
    ("message", "clean"),
    [
        ("too many emails", "too many emails"),
        ("anna@example.com is malformed", "[address] is malformed"),
        ('"anna@example.com","ben@example.com"', '"[address]","[address]"'),
        ("<Anna.O'Neil+x@sub.example.co.uk>", "<[address]>"),
        ("'{a}|b!@example.com'", "[address]'"),
        ("mailto:anna@bücher.example?", "mailto:[address]"),
        ("user@localhost (line 3)", "[address] (line 3)"),
        ("one\r\n\ttwo   three\0", "one two three"),
        ("emoji 😀!", "emoji !"),
        ("linear\U00010000 and \uffee", "linear and \uffee"),
        ("x" * 1_000, "x" * 300),
        ("", ""),
    ],
)
def test_messages_are_fit_to_be_shown(message: str, clean: str) -> None:
    """What is stored and shown of Bouncer's words is one short line without addresses, in characters that all hold."""
    assert clean_message(message) == clean
