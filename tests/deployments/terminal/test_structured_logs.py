"""Logs as JSON: each line of a batch's run tells which run, batch and request it is of, and no address."""

import json
import os

from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue
from tests.deployments.running_commands import run
from tests.sandbox_process import SandboxHandle


@on_sqlite
async def test_every_line_tells_whose_it_is(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, database_url: str
) -> None:
    """A retry that Prefect's own loggers know nothing of is found by the batch and the request that it is about."""
    engine = await set_up_account()
    queue(engine, addresses(5, prefix="marked-person"), request=7)
    sandbox.fault("status", operation="status", code=503, message="cannot verify marked-person@example.com")
    environment = {**os.environ, "DATABASE_URL": database_url, "LOG_FORMAT": "json"}
    ended = run(["ingest", "--json", "--verbose"], environment)
    assert ended.code == 0, ended.err
    lines = [json.loads(line) for line in ended.err.splitlines() if line.startswith("{")]
    retries = [line for line in lines if line["logger"].startswith("bouncer") and "503" in line["message"]]
    assert retries
    for line in retries:
        assert (line["level"], line["batch_id"], line["request_id"]) == ("WARNING", 1, 7)
        assert line["flow_run_name"] == "batch 1: 5 contacts of request 7"
        assert len(line["flow_run_id"]) == 36
    assert {"ingest", "verify-batch"} <= {line.get("flow_name") for line in lines}
    assert "marked-person" not in ended.err
