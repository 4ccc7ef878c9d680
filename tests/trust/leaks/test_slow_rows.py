"""The errors that take their time: a batch that Bouncer forgets, and an outage that opens the circuit breaker."""

from pathlib import Path

import pytest
from tenacity import wait_none

from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import queue, statuses
from tests.flows.runs import events, ingested, until_it_holds
from tests.sandbox_process import SandboxHandle
from tests.trust.leaks.searching import ADDRESS, Marks, addresses

_KEY = "marked-key-for-the-slow-rows"


@on_sqlite
async def test_a_lost_batch_and_an_outage_are_told_without_key_and_address(
    set_up_account: SetUpAccount,
    sandbox: SandboxHandle,
    prefect_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What the logs, events and the Prefect server's files tell of them holds no secret."""
    monkeypatch.setattr("bouncer.steps.retries.PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr("bouncer.api.client.between_attempts", wait_none())
    monkeypatch.setattr("bouncer.accounts.circuit_breaker.OPEN_SECONDS", 1)
    sandbox.post("/_sandbox/keys", {"key": _KEY, "same_account_as": sandbox.key})
    engine = await set_up_account(bouncer_api_key=_KEY, batch_size=20)
    queue(engine, addresses(40))
    quoting = f"{_KEY} and {ADDRESS}.1@gmail.com"
    sandbox.fault("forget")
    sandbox.fault("status", operation="status", code=503, message=quoting, times=18)
    with caplog.at_level("DEBUG"):
        summary, _ = await ingested()
    assert (summary.outcome, statuses(engine)) == ("drained", {"completed": 40})

    @until_it_holds
    async def told() -> None:
        assert await events("bouncer-flows.batch.lost")

    await told()
    marks = Marks(_KEY)
    assert marks.in_files(prefect_home) == {}
    assert marks.within(caplog.text.encode()) == set()
    assert "Bouncer answered 503 to status: [key] and [address]" in caplog.text
