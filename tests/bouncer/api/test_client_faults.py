"""Every fault of the service becomes its outcome, and nothing that may cost money is sent twice."""

import socket
from typing import Any

import httpx
import pytest

from bouncer.accounts.call_statistics import Call
from bouncer.api import client
from bouncer.api.failures import ATTEMPTS
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
    UnexpectedAnswer,
    UploadOutcomeUnknown,
)
from tests.bouncer.api.caller import ADDRESSES, LEAKED, Caller, assert_silent

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
    ((Call.FINISH,), {"kind": "finish_refused"}, FinishRefused, 1),
    ((Call.FINISH,), {"kind": "finish_refused", "code": 400}, FinishRefused, 1),
    # Errors that are sent with 200 are errors.
    ((Call.CREATE, *_READING), {"kind": "status", "code": 401, "in_200": True}, KeyRefused, 1),
    ((Call.CREATE, *_READING), {"kind": "status", "code": 503, "in_200": True}, BouncerUnavailable, ATTEMPTS),
    ((Call.CREATE,), {"kind": "status", "code": 402, "in_200": True}, OutOfCredits, 1),
    ((Call.CREATE,), {"kind": "status", "code": 400, "in_200": True}, AddressesRefused, 1),
    ((Call.CREATE, Call.VERIFY), {"kind": "status", "code": 500, "in_200": True}, UploadOutcomeUnknown, 1),
    (_OF_BATCHES, {"kind": "status", "code": 404, "in_200": True}, BatchLost, 1),
    ((Call.DOWNLOAD,), {"kind": "status", "code": 405, "in_200": True}, BatchNotCompleted, 1),
    ((Call.CREDITS,), {"kind": "status", "code": 418, "in_200": True}, UnexpectedAnswer, ATTEMPTS),
    ((Call.FINISH,), {"kind": "malformed"}, UnexpectedAnswer, ATTEMPTS),
]


@pytest.mark.parametrize(
    ("calls", "fault", "expected", "requests"), _FOR_EVER, ids=[f"{case[1]} {case[0][0]}" for case in _FOR_EVER]
)
async def test_every_fault_becomes_its_outcome(
    caller: Caller,
    waits: list[float],
    calls: tuple[Call, ...],
    fault: dict[str, Any],
    expected: type[BouncerFlowsError],
    requests: int,
) -> None:
    """Each failure is told as what it means, after as many attempts as are safe, without the key or an address."""
    batch_id = await caller.completed()
    if fault["kind"] == "status" and not fault.get("message"):
        fault = {**fault, "message": f"{LEAKED} and {caller.key.upper()}"}
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
        assert_silent(failed.value, caller.key)
        assert "\n" not in str(failed.value)


async def test_a_passing_fault_costs_nothing_but_time(caller: Caller, waits: list[float]) -> None:
    """A failure that passes within three attempts is not told, and not counted by the breaker."""
    batch_id = await caller.completed()
    for call in set(_READING) - {Call.FINISH}:
        caller.sandbox.fault("status", operation=str(call), code=503, times=2)
        await caller.call(call, batch_id)
    caller.sandbox.fault("status", operation="create", code=503, times=2)
    await caller.upload()
    assert (len(waits), caller.gate.failures) == (8, 0)
    assert caller.sandbox.ledger()["batches"] == 2


@pytest.mark.parametrize("kind", ["cut_body", "malformed", "lost_answer"])
async def test_a_download_that_broke_off_is_downloaded_again(caller: Caller, waits: list[float], kind: str) -> None:
    """Half a download is never taken for a whole one."""
    batch_id = await caller.completed()
    caller.sandbox.fault(kind, operation="download", fraction=0.7)
    verdicts = await caller.call(Call.DOWNLOAD, batch_id)
    assert sorted(verdict.email for verdict in verdicts) == sorted(ADDRESSES)
    assert len(waits) == 1


async def test_an_upload_whose_answer_was_lost_is_not_sent_again(caller: Caller, waits: list[float]) -> None:
    """What may have been paid for is left to AMBIGUOUS_UPLOAD: Bouncer has the batch once."""
    caller.sandbox.fault("lost_answer", operation="create")
    with pytest.raises(UploadOutcomeUnknown):
        await caller.upload()
    ledger = caller.sandbox.ledger()
    assert (ledger["batches"], ledger["requests_by_operation"]["create"], caller.sendings) == (1, 1, 1)
    assert waits == []


async def test_nobody_listens(caller: Caller, waits: list[float]) -> None:
    """A refused connection certainly carried nothing: even an upload is retried, and told as unavailable."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with caller.client(f"http://127.0.0.1:{unused.getsockname()[1]}") as client:
            with pytest.raises(BouncerUnavailable, match="check BOUNCER_API_BASE_URL") as away:
                await client.create_batch([LEAKED], sending=caller.sending, refused=caller.refused)
    assert (caller.sendings, caller.gate.failures, len(waits)) == (ATTEMPTS, 1, ATTEMPTS - 1)
    assert_silent(away.value, caller.key)


async def test_answers_that_take_too_long(caller: Caller, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload that is not answered in time is of unknown outcome; a download that trickles is begun again."""
    batch_id = await caller.completed()
    # Only the answer has little time: a busy machine may connect slowly.
    monkeypatch.setattr(client, "_TIMEOUT", httpx.Timeout(30, read=0.2))
    caller.sandbox.fault("slow", operation="create", seconds=3600)
    with pytest.raises(UploadOutcomeUnknown):
        await caller.upload()
    monkeypatch.setattr(client, "_TIMEOUT", httpx.Timeout(30))
    monkeypatch.setattr(client, "_WHOLE_CALL_SECONDS", 2)
    caller.sandbox.fault("slow_body", operation="download", seconds=3600)
    assert len(await caller.call(Call.DOWNLOAD, batch_id)) == len(ADDRESSES)
    assert len(waits) == 1


async def test_answers_without_end(caller: Caller, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """A body far longer than any download of that many addresses is not read to its end."""
    batch_id = await caller.completed()
    monkeypatch.setattr(client, "_BYTES_OF_AN_ANSWER", 50)
    monkeypatch.setattr(client, "_BYTES_AN_ADDRESS", 1)
    with pytest.raises(UnexpectedAnswer, match="far longer than any answer can be"):
        await caller.call(Call.DOWNLOAD, batch_id)


async def test_a_batch_that_is_gone(caller: Caller) -> None:
    """A batch that Bouncer forgot, deleted or never had is told as lost, one that is not done as not completed."""
    caller.sandbox.post("/_sandbox/settings", {"fixed_seconds": 3600})
    fresh = (await caller.upload()).batch_id
    with pytest.raises(BatchNotCompleted):
        await caller.call(Call.DOWNLOAD, fresh)
    caller.sandbox.post(f"/_sandbox/batches/{fresh}/complete")
    async with httpx.AsyncClient(headers={"x-api-key": caller.key}) as other:
        await other.delete(f"{caller.sandbox.url}/email/verify/batch/{fresh}")
    lost = [(Call.DOWNLOAD, fresh), (Call.STATUS, fresh), (Call.STATUS, "never"), (Call.FINISH, "never")]
    caller.sandbox.fault("forget")
    lost.append((Call.STATUS, (await caller.upload()).batch_id))
    for call, batch_id in lost:
        with pytest.raises(BatchLost):
            await caller.call(call, batch_id)
