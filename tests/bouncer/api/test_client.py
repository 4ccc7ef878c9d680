"""Calls over HTTP: keys, limits and the breaker, and what an upload does before its first byte is sent."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from bouncer.accounts.call_statistics import Call
from bouncer.api import client
from bouncer.api.failures import ATTEMPTS
from bouncer.errors import (
    BouncerFlowsError,
    BreakerOpen,
    FinishRefused,
    KeyRefused,
    OutOfCredits,
    RateLimited,
    UploadOutcomeUnknown,
)
from tests.bouncer.api.caller import ADDRESSES, Caller, assert_silent, running


async def test_a_batch_from_upload_to_verdicts(caller: Caller) -> None:
    """The five calls do what they are for; each passes the gate once, and an upload tells before it is sent."""
    # Not done before anybody finishes it, however busy the machine is.
    caller.sandbox.post("/_sandbox/settings", {"fixed_seconds": 3600})
    async with caller.client() as client:
        before = await client.credits()
        created = await client.create_batch(
            [*ADDRESSES, ADDRESSES[0].upper()], sending=caller.sending, refused=caller.refused
        )
        assert (created.duplicates, caller.sendings) == (1, 1)
        assert not (await client.batch_progress(created.batch_id)).is_completed
        await running(client, created.batch_id)
        await client.finish(created.batch_id)
        caller.sandbox.post(f"/_sandbox/batches/{created.batch_id}/complete")
        progress = await client.batch_progress(created.batch_id)
        assert (progress.is_completed, progress.processed is None, progress.credits) == (True, False, 0)
        assert await client.credits() == before
    whole = await caller.completed()
    async with caller.client() as client:
        verdicts = await client.download(whole, len(ADDRESSES))
    assert sorted(verdict.email for verdict in verdicts) == sorted(ADDRESSES)
    assert {verdict.status for verdict in verdicts} == {"deliverable"}
    assert (caller.gate.admitted, caller.gate.answers, caller.gate.failures) == ([Call.DOWNLOAD], 1, 0)


@pytest.mark.parametrize(("retry_after", "wait"), [(7, 7), (0, 0.5), ("soon", 60), (None, 60), ("3600", 120)], ids=str)
async def test_429_is_waited_out_as_told(
    caller: Caller, waits: list[float], retry_after: int | str | None, wait: float
) -> None:
    """A status check or an upload that meets 429, however often, goes through in the end and costs no attempt."""
    batch_id = await caller.completed()
    for call in (Call.STATUS, Call.CREATE):
        caller.sandbox.fault("status", operation=str(call), code=429, retry_after=retry_after, times=ATTEMPTS + 2)
        await caller.call(call, batch_id)
    assert waits == [wait] * 2 * (ATTEMPTS + 2)
    assert caller.gate.failures == 0
    assert caller.sandbox.ledger()["batches"] == 2


async def test_429_with_a_date(caller: Caller, waits: list[float]) -> None:
    """Retry-After may be a moment; it is waited for by this machine's clock."""
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    caller.sandbox.fault("status", code=429, retry_after=moment)
    await caller.upload()
    assert 60 < waits[0] <= 90


async def test_429_between_failures_costs_no_attempt(caller: Caller, waits: list[float]) -> None:
    """Two failures with any number of 429 between them still leave the third attempt."""
    for code, times in ((503, 1), (429, 4), (503, 1), (429, 4)):
        caller.sandbox.fault("status", code=code, times=times, retry_after=1)
    await caller.upload()
    assert [round(wait) for wait in waits if wait == 1] == [1] * 8
    assert len(waits) == 10


async def test_429_without_end(caller: Caller, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """After a quarter of an hour of nothing but 429 the call is given up for now; the breaker counts no failure."""
    monkeypatch.setattr(client, "RATE_LIMITED_SECONDS", 0)
    caller.sandbox.fault("status", code=429, html=True, times=None)
    with pytest.raises(RateLimited) as limited:
        await caller.upload()
    assert (caller.gate.failures, caller.gate.answers, caller.sandbox.ledger()["batches"]) == (0, 0, 0)
    assert_silent(limited.value, caller.key)


async def test_a_rotated_key_is_used_by_the_next_request(caller: Caller, waits: list[float]) -> None:
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
async def test_a_key_that_no_header_can_carry(caller: Caller, key: str) -> None:
    """A mistyped key is refused in words that do not quote it, before anything is sent."""
    caller.key = key
    with pytest.raises(KeyRefused, match="enter it again in block bouncer-account") as refused:
        await caller.upload()
    assert_silent(refused.value, key)
    assert (caller.sendings, caller.sandbox.ledger()["requests"]) == (0, 0)


async def test_white_space_around_a_key(caller: Caller) -> None:
    """A key that was pasted with a line break works."""
    caller.key = f" {caller.key}\n"
    assert (await caller.upload()).batch_id


async def test_too_few_credits(caller: Caller) -> None:
    """Bouncer's own words on credits are told, and nothing is uploaded."""
    caller.sandbox.post("/_sandbox/credits", {"key": caller.key, "credits": 3})
    with pytest.raises(OutOfCredits, match="3 credits left"):
        await caller.upload([f"a{number}@example.com" for number in range(4)])
    assert caller.gate.answers == 1


async def test_what_sending_raises_keeps_the_upload_back(caller: Caller) -> None:
    """When the batch may not begin after all, as in a pause, not a byte is sent."""

    async def refuse() -> None:
        raise RuntimeError("paused")

    async with caller.client() as client:
        with pytest.raises(RuntimeError, match="paused"):
            await client.create_batch(ADDRESSES, sending=refuse, refused=caller.refused)
    assert (caller.sandbox.ledger()["requests"], caller.refusals) == (0, 0)


async def test_a_call_that_the_breaker_kept_back_is_no_failure(caller: Caller, waits: list[float]) -> None:
    """A call that was not made is not retried, and not counted as one that failed: that would end the probe."""
    caller.gate.refusal = BreakerOpen("the circuit breaker is open")
    with pytest.raises(BreakerOpen):
        await caller.upload()
    assert (caller.gate.failures, caller.sendings, waits) == (0, 0, [])


async def test_a_batch_is_finished_for_real(caller: Caller) -> None:
    """A batch without progress is stopped at Bouncer; for a while that request was never sent."""
    caller.sandbox.post("/_sandbox/settings", {"fixed_seconds": 60})
    batch_id = (await caller.upload()).batch_id
    async with caller.client() as client:
        await running(client, batch_id)
        await client.finish(batch_id)
    assert caller.sandbox.ledger()["finished"] == 1


@pytest.mark.parametrize("status", [200, 400])
async def test_a_refused_finish_is_not_taken_for_one(caller: Caller, status: int) -> None:
    """Bouncer refuses to finish what does not run, in a 200 or with 400; once that was taken for consent."""
    caller.sandbox.post("/_sandbox/settings", {"fixed_seconds": 3600, "parallel": 1, "finish_refusal": status})
    await caller.upload()
    queued = (await caller.upload()).batch_id
    for batch_id in (queued, await caller.completed()):
        with pytest.raises(FinishRefused, match="batch has to be running to finish"):
            await caller.call(Call.FINISH, batch_id)
    assert (caller.sandbox.ledger()["finished"], caller.gate.failures) == (0, 0)
    assert caller.sandbox.ledger()["requests_by_operation"]["finish"] == 2


async def test_which_answers_clear_the_breaker(caller: Caller, waits: list[float]) -> None:
    """An answer that makes sense shows that Bouncer is there, be it a refusal; 429 and 5xx do not."""
    batch_id = await caller.completed()
    outcomes: dict[int, int] = {}
    for code in (400, 401, 402, 404, 405, 429, 500, 502, 503):
        caller.gate.answers = 0
        caller.sandbox.fault("status", code=code, retry_after=1)
        try:
            await caller.call(Call.STATUS, batch_id)
        except BouncerFlowsError:
            outcomes[code] = caller.gate.answers
        else:
            # The last attempt met no fault.
            outcomes[code] = caller.gate.answers - 1
    assert outcomes == {400: 1, 401: 1, 402: 1, 404: 1, 405: 1, 429: 0, 500: 0, 502: 0, 503: 0}


async def test_a_refused_upload_is_told_before_the_wait(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed while it waits for the next attempt leaves no upload that looks as if it were lost."""
    open_in_waits = []

    async def note(_seconds: float) -> None:
        open_in_waits.append(caller.sendings - caller.refusals)

    monkeypatch.setattr(client, "sleep_unless_stopping", note)
    caller.sandbox.fault("status", operation="create", code=429)
    caller.sandbox.fault("status", operation="create", code=503)
    await caller.upload()
    assert (open_in_waits, caller.sendings, caller.refusals) == ([0, 0], 3, 2)


@pytest.mark.parametrize("kind", ["lost_answer", "malformed"])
async def test_an_upload_of_unknown_outcome_is_not_told_as_refused(caller: Caller, kind: str) -> None:
    """What Bouncer may have is never taken for what it has not."""
    caller.sandbox.fault(kind, operation="create")
    with pytest.raises(UploadOutcomeUnknown):
        await caller.upload()
    assert (caller.sendings, caller.refusals) == (1, 0)
