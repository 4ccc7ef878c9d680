"""Calls over HTTP: every fault of the service becomes its outcome, and nothing that may cost money is sent twice."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from bouncer import client as module
from bouncer.client import BouncerClient
from bouncer.errors import (
    AddressesRefused,
    BatchLost,
    BatchNotCompleted,
    BouncerFlowsError,
    BouncerUnavailable,
    BreakerOpen,
    DownloadTruncated,
    KeyRefused,
    OutOfCredits,
    RateLimited,
    UnexpectedAnswer,
    UploadOutcomeUnknown,
)
from bouncer.models import BatchCreated
from bouncer.policy import ATTEMPTS, Call
from tests.sandbox_process import SandboxHandle

_ADDRESSES = [f"deliverable+{number}@sandbox.usebouncer.com" for number in range(20)]
_LEAKED = "anna.secret@example.com"


class _Gate:
    """Lets all pass, and remembers what it was told."""

    def __init__(self) -> None:
        self.admitted: list[Call] = []
        self.answers = 0
        self.failures = 0
        self.refusal: BouncerFlowsError | None = None

    async def admit(self, call: Call) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.admitted.append(call)

    async def answered(self) -> None:
        self.answers += 1

    async def failed(self) -> None:
        self.failures += 1


class _Caller:
    """A client of the sandbox, and what its gate and its key source are."""

    def __init__(self, sandbox: SandboxHandle) -> None:
        self.sandbox = sandbox
        self.gate = _Gate()
        self.key = sandbox.key
        self.sendings = 0

    async def source(self) -> str:
        return self.key

    @asynccontextmanager
    async def client(self, url: str | None = None) -> AsyncIterator[BouncerClient]:
        async with BouncerClient(url or self.sandbox.url, self.source, self.gate) as client:
            yield client

    async def sending(self) -> None:
        self.sendings += 1

    async def upload(self, addresses: list[str] | None = None) -> BatchCreated:
        async with self.client() as client:
            return await client.create_batch(addresses or _ADDRESSES, self.sending)

    async def completed(self) -> str:
        """Uploads a batch and has the sandbox complete it."""
        batch_id = (await self.upload()).batch_id
        self.sandbox.post(f"/_sandbox/batches/{batch_id}/complete")
        self.gate.admitted.clear()
        self.gate.answers = 0
        return batch_id

    async def call(self, call: Call, batch_id: str) -> Any:
        async with self.client() as client:
            match call:
                case Call.CREATE:
                    return await client.create_batch([*_ADDRESSES, _LEAKED], self.sending)
                case Call.STATUS:
                    return await client.batch_progress(batch_id)
                case Call.DOWNLOAD:
                    return await client.download(batch_id, len(_ADDRESSES))
                case Call.FINISH:
                    return await client.finish(batch_id)
                case Call.CREDITS:
                    return await client.credits()


@pytest.fixture
def caller(sandbox: SandboxHandle) -> _Caller:
    return _Caller(sandbox)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client would have waited."""
    waited: list[float] = []

    async def note(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(module, "sleep", note)
    return waited


def _chain(error: BaseException) -> Iterator[BaseException]:
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is not None:
            yield one
            todo += [one.__cause__, one.__context__]


def _assert_silent(error: BaseException, key: str) -> None:
    for one in _chain(error):
        for words in (str(one), repr(one), repr(one.args)):
            assert key not in words
            assert "@" not in words
            assert "secret" not in words


async def test_a_batch_from_upload_to_verdicts(caller: _Caller) -> None:
    """The five calls do what they are for; each passes the gate once, and an upload tells before it is sent."""
    async with caller.client() as client:
        before = await client.credits()
        created = await client.create_batch([*_ADDRESSES, _ADDRESSES[0].upper()], caller.sending)
        assert (created.duplicates, caller.sendings) == (1, 1)
        assert not (await client.batch_progress(created.batch_id)).is_completed
        await client.finish(created.batch_id)
        caller.sandbox.post(f"/_sandbox/batches/{created.batch_id}/complete")
        progress = await client.batch_progress(created.batch_id)
        assert (progress.is_completed, progress.processed is None, progress.credits) == (True, False, 0)
        assert await client.credits() == before
    whole = await caller.completed()
    async with caller.client() as client:
        verdicts = await client.download(whole, len(_ADDRESSES))
    assert sorted(verdict.email for verdict in verdicts) == sorted(_ADDRESSES)
    assert {verdict.status for verdict in verdicts} == {"deliverable"}
    assert (caller.gate.admitted, caller.gate.answers, caller.gate.failures) == ([Call.DOWNLOAD], 1, 0)


_OF_BATCHES = (Call.STATUS, Call.DOWNLOAD, Call.FINISH)
_READING = (*_OF_BATCHES, Call.CREDITS)
_FOR_EVER: list[tuple[tuple[Call, ...], dict[str, Any], type[BouncerFlowsError], int]] = [
    # The calls, the fault that each meets every time, what it becomes, and after how many requests.
    ((Call.CREATE, *_READING), {"kind": "status", "code": 503}, BouncerUnavailable, ATTEMPTS),
    (_READING, {"kind": "status", "code": 500}, BouncerUnavailable, ATTEMPTS),
    (_READING, {"kind": "status", "code": 502, "html": True}, BouncerUnavailable, ATTEMPTS),
    (_READING, {"kind": "status", "code": 504}, BouncerUnavailable, ATTEMPTS),
    ((Call.CREATE,), {"kind": "status", "code": 500}, UploadOutcomeUnknown, 1),
    ((Call.CREATE,), {"kind": "status", "code": 502, "html": True, "processed": True}, UploadOutcomeUnknown, 1),
    ((Call.CREATE,), {"kind": "status", "code": 504, "html": True}, UploadOutcomeUnknown, 1),
    ((Call.CREATE,), {"kind": "refuse"}, UploadOutcomeUnknown, 1),
    ((Call.CREATE,), {"kind": "lost_answer"}, UploadOutcomeUnknown, 1),
    ((Call.CREATE,), {"kind": "cut_body"}, UploadOutcomeUnknown, 1),
    ((Call.CREATE,), {"kind": "malformed"}, UploadOutcomeUnknown, 1),
    ((Call.STATUS, Call.FINISH, Call.CREDITS), {"kind": "refuse"}, BouncerUnavailable, ATTEMPTS),
    ((Call.STATUS, Call.FINISH, Call.CREDITS), {"kind": "lost_answer"}, BouncerUnavailable, ATTEMPTS),
    ((Call.STATUS, Call.CREDITS), {"kind": "cut_body"}, BouncerUnavailable, ATTEMPTS),
    ((Call.STATUS, Call.CREDITS), {"kind": "malformed"}, UnexpectedAnswer, ATTEMPTS),
    ((Call.DOWNLOAD,), {"kind": "refuse"}, DownloadTruncated, ATTEMPTS),
    ((Call.DOWNLOAD,), {"kind": "lost_answer"}, DownloadTruncated, ATTEMPTS),
    ((Call.DOWNLOAD,), {"kind": "cut_body"}, DownloadTruncated, ATTEMPTS),
    ((Call.DOWNLOAD,), {"kind": "malformed"}, DownloadTruncated, ATTEMPTS),
    ((Call.CREATE, *_READING), {"kind": "status", "code": 418}, UnexpectedAnswer, ATTEMPTS),
    ((Call.CREATE, *_READING), {"kind": "status", "code": 401}, KeyRefused, 1),
    ((Call.CREATE, *_READING), {"kind": "status", "code": 403, "html": True}, KeyRefused, 1),
    ((Call.CREATE,), {"kind": "status", "code": 402}, OutOfCredits, 1),
    ((Call.CREATE,), {"kind": "status", "code": 400}, AddressesRefused, 1),
    ((Call.CREATE,), {"kind": "status", "code": 413, "html": True}, AddressesRefused, 1),
    (_OF_BATCHES, {"kind": "status", "code": 404}, BatchLost, 1),
    (_OF_BATCHES, {"kind": "status", "code": 405, "message": "it has been removed"}, BatchLost, 1),
    ((Call.DOWNLOAD,), {"kind": "not_completed"}, BatchNotCompleted, 1),
    ((Call.DOWNLOAD,), {"kind": "not_completed", "code": 400}, BatchNotCompleted, 1),
]


@pytest.mark.parametrize(
    ("calls", "fault", "expected", "requests"), _FOR_EVER, ids=[f"{case[1]} {case[0][0]}" for case in _FOR_EVER]
)
async def test_every_fault_becomes_its_outcome(
    caller: _Caller,
    waits: list[float],
    calls: tuple[Call, ...],
    fault: dict[str, Any],
    expected: type[BouncerFlowsError],
    requests: int,
) -> None:
    """Each failure is told as what it means, after as many attempts as are safe, without the key or an address."""
    batch_id = await caller.completed()
    if fault["kind"] == "status" and not fault.get("message"):
        fault = {**fault, "message": f"{_LEAKED} and {caller.key.upper()}"}
    caller.sandbox.fault(**fault, times=None)
    for call in calls:
        caller.gate.admitted.clear()
        caller.gate.failures = 0
        waits.clear()
        with pytest.raises(expected) as failed:
            await caller.call(call, batch_id)
        assert type(failed.value) is expected
        assert caller.gate.admitted == [call] * requests
        counts_as_failure = issubclass(expected, BouncerUnavailable | DownloadTruncated | UploadOutcomeUnknown)
        assert caller.gate.failures == counts_as_failure
        for wait, base in zip(waits, [2, 4][: requests - 1], strict=True):
            assert base <= wait <= base + 1
        _assert_silent(failed.value, caller.key)
        assert "\n" not in str(failed.value)


async def test_a_passing_fault_costs_nothing_but_time(caller: _Caller, waits: list[float]) -> None:
    """A failure that passes within three attempts is not told, and not counted by the breaker."""
    batch_id = await caller.completed()
    for call in _READING:
        caller.sandbox.fault("status", operation=str(call), code=503, times=2)
        await caller.call(call, batch_id)
    caller.sandbox.fault("status", operation="create", code=503, times=2)
    await caller.upload()
    assert (len(waits), caller.gate.failures) == (10, 0)
    assert caller.sandbox.ledger()["batches"] == 2


@pytest.mark.parametrize("kind", ["cut_body", "malformed", "lost_answer"])
async def test_a_download_that_broke_off_is_downloaded_again(caller: _Caller, waits: list[float], kind: str) -> None:
    """Half a download is never taken for a whole one."""
    batch_id = await caller.completed()
    caller.sandbox.fault(kind, operation="download", fraction=0.7)
    verdicts = await caller.call(Call.DOWNLOAD, batch_id)
    assert sorted(verdict.email for verdict in verdicts) == sorted(_ADDRESSES)
    assert len(waits) == 1


async def test_an_upload_whose_answer_was_lost_is_not_sent_again(caller: _Caller, waits: list[float]) -> None:
    """What may have been paid for is left to AMBIGUOUS_UPLOAD: Bouncer has the batch once."""
    caller.sandbox.fault("lost_answer", operation="create")
    with pytest.raises(UploadOutcomeUnknown):
        await caller.upload()
    ledger = caller.sandbox.ledger()
    assert (ledger["batches"], ledger["requests_by_operation"]["create"], caller.sendings) == (1, 1, 1)
    assert waits == []


@pytest.mark.parametrize(("retry_after", "wait"), [(7, 7), (0, 0.5), ("soon", 60), (None, 60), ("3600", 120)], ids=str)
async def test_429_is_waited_out_as_told(
    caller: _Caller, waits: list[float], retry_after: int | str | None, wait: float
) -> None:
    """A status check or an upload that meets 429, however often, goes through in the end and costs no attempt."""
    batch_id = await caller.completed()
    for call in (Call.STATUS, Call.CREATE):
        caller.sandbox.fault("status", operation=str(call), code=429, retry_after=retry_after, times=ATTEMPTS + 2)
        await caller.call(call, batch_id)
    assert waits == [wait] * 2 * (ATTEMPTS + 2)
    assert caller.gate.failures == 0
    assert caller.sandbox.ledger()["batches"] == 2


async def test_429_with_a_date(caller: _Caller, waits: list[float]) -> None:
    """Retry-After may be a moment; it is waited for by this machine's clock."""
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    caller.sandbox.fault("status", code=429, retry_after=moment)
    await caller.upload()
    assert 60 < waits[0] <= 90


async def test_429_between_failures_costs_no_attempt(caller: _Caller, waits: list[float]) -> None:
    """Two failures with any number of 429 between them still leave the third attempt."""
    for code, times in ((503, 1), (429, 4), (503, 1), (429, 4)):
        caller.sandbox.fault("status", code=code, times=times, retry_after=1)
    await caller.upload()
    assert [round(wait) for wait in waits if wait == 1] == [1] * 8
    assert len(waits) == 10


async def test_429_without_end(caller: _Caller, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """After a quarter of an hour of nothing but 429 the call is given up for now; the breaker counts no failure."""
    monkeypatch.setattr(module, "RATE_LIMITED_SECONDS", 0)
    caller.sandbox.fault("status", code=429, html=True, times=None)
    with pytest.raises(RateLimited) as limited:
        await caller.upload()
    assert (caller.gate.failures, caller.gate.answers, caller.sandbox.ledger()["batches"]) == (0, 0, 0)
    _assert_silent(limited.value, caller.key)


async def test_a_rotated_key_is_used_by_the_next_request(caller: _Caller, waits: list[float]) -> None:
    """A key that is changed while batches are under way is used at once, by the next attempt of a call too."""
    batch_id = await caller.completed()
    async with caller.client() as client:
        assert (await client.batch_progress(batch_id)).is_completed
        caller.sandbox.post("/_sandbox/keys", {"key": "rotated", "same_account_as": caller.key})
        caller.sandbox.revoke(caller.key)
        with pytest.raises(KeyRefused):
            await client.batch_progress(batch_id)
        caller.key = "rotated"
        assert (await client.batch_progress(batch_id)).is_completed


@pytest.mark.parametrize("key", ["line\nbreak-secret", "sch\u00fcssel-secret", "nul\0-secret", "\N{KEY}secret"])
async def test_a_key_that_no_header_can_carry(caller: _Caller, key: str) -> None:
    """A mistyped key is refused in words that do not quote it, before anything is sent."""
    caller.key = key
    with pytest.raises(KeyRefused, match="enter it again in block bouncer-account") as refused:
        await caller.upload()
    _assert_silent(refused.value, key)
    assert (caller.sendings, caller.sandbox.ledger()["requests"]) == (0, 0)


async def test_white_space_around_a_key(caller: _Caller) -> None:
    """A key that was pasted with a line break works."""
    caller.key = f" {caller.key}\n"
    assert (await caller.upload()).batch_id


async def test_too_few_credits(caller: _Caller) -> None:
    """Bouncer's own words on credits are told, and nothing is uploaded."""
    caller.sandbox.post("/_sandbox/credits", {"key": caller.key, "credits": 3})
    with pytest.raises(OutOfCredits, match="3 credits left"):
        await caller.upload([f"a{number}@example.com" for number in range(4)])
    assert caller.gate.answers == 1


async def test_what_sending_raises_keeps_the_upload_back(caller: _Caller) -> None:
    """When the batch may not begin after all, as in a pause, not a byte is sent."""

    async def refuse() -> None:
        raise RuntimeError("paused")

    async with caller.client() as client:
        with pytest.raises(RuntimeError, match="paused"):
            await client.create_batch(_ADDRESSES, refuse)
    assert caller.sandbox.ledger()["requests"] == 0


async def test_a_call_that_the_breaker_kept_back_is_no_failure(caller: _Caller, waits: list[float]) -> None:
    """A call that was not made is not tried again, and not counted as one that failed: that would end the probe."""
    caller.gate.refusal = BreakerOpen("the circuit breaker is open")
    with pytest.raises(BreakerOpen):
        await caller.upload()
    assert (caller.gate.failures, caller.sendings, waits) == (0, 0, [])


async def test_nobody_listens(caller: _Caller, waits: list[float]) -> None:
    """A refused connection certainly carried nothing: even an upload is tried again, and told as unavailable."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with caller.client(f"http://127.0.0.1:{unused.getsockname()[1]}") as client:
            with pytest.raises(BouncerUnavailable, match="check BOUNCER_API_BASE_URL") as away:
                await client.create_batch([_LEAKED], caller.sending)
    assert (caller.sendings, caller.gate.failures, len(waits)) == (ATTEMPTS, 1, ATTEMPTS - 1)
    _assert_silent(away.value, caller.key)


async def test_answers_that_take_too_long(caller: _Caller, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload that is not answered in time is of unknown outcome; a download that trickles is begun again."""
    batch_id = await caller.completed()
    monkeypatch.setattr(module, "_TIMEOUT", httpx.Timeout(0.1))
    caller.sandbox.fault("slow", operation="create", seconds=0.5)
    with pytest.raises(UploadOutcomeUnknown):
        await caller.upload()
    monkeypatch.setattr(module, "_WHOLE_CALL_SECONDS", 0.3)
    caller.sandbox.fault("slow_body", operation="download", seconds=1)
    assert len(await caller.call(Call.DOWNLOAD, batch_id)) == len(_ADDRESSES)
    assert len(waits) == 1


async def test_answers_without_end(caller: _Caller, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """A body far longer than any download of that many addresses is not read to its end."""
    batch_id = await caller.completed()
    monkeypatch.setattr(module, "_BYTES_OF_AN_ANSWER", 50)
    monkeypatch.setattr(module, "_BYTES_AN_ADDRESS", 1)
    with pytest.raises(UnexpectedAnswer, match="far longer than any answer can be"):
        await caller.call(Call.DOWNLOAD, batch_id)


async def test_a_batch_is_finished_for_real(caller: _Caller) -> None:
    """A batch without progress is stopped at Bouncer; for a while that request was never sent."""
    batch_id = (await caller.upload()).batch_id
    await caller.call(Call.FINISH, batch_id)
    assert caller.sandbox.ledger()["finished"] == 1


async def test_a_batch_that_is_gone(caller: _Caller) -> None:
    """A batch that Bouncer forgot, deleted or never had is told as lost, one that is not done as not completed."""
    fresh = (await caller.upload()).batch_id
    with pytest.raises(BatchNotCompleted):
        await caller.call(Call.DOWNLOAD, fresh)
    async with httpx.AsyncClient(headers={"x-api-key": caller.key}) as other:
        await other.delete(f"{caller.sandbox.url}/email/verify/batch/{fresh}")
    lost = [(Call.DOWNLOAD, fresh), (Call.STATUS, fresh), (Call.STATUS, "never"), (Call.FINISH, "never")]
    caller.sandbox.fault("forget")
    lost.append((Call.STATUS, (await caller.upload()).batch_id))
    for call, batch_id in lost:
        with pytest.raises(BatchLost):
            await caller.call(call, batch_id)


async def test_which_answers_clear_the_breaker(caller: _Caller, waits: list[float]) -> None:
    """An answer that makes sense shows that Bouncer is there, be it a refusal; 429 and 5xx do not."""
    batch_id = await caller.completed()
    outcomes: dict[int, int] = {}
    for code in (400, 401, 402, 404, 405, 429, 500, 502, 503):
        caller.gate.answers = 0
        caller.sandbox.fault("status", code=code, retry_after=1)
        try:
            await caller.call(Call.FINISH, batch_id)
        except BouncerFlowsError:
            outcomes[code] = caller.gate.answers
        else:
            # The last attempt met no fault.
            outcomes[code] = caller.gate.answers - 1
    assert outcomes == {400: 1, 401: 1, 402: 1, 404: 1, 405: 1, 429: 0, 500: 0, 502: 0, 503: 0}
