"""What people see of an ingest in Prefect: runs by readable names, their states, artifacts; and never a secret."""

import asyncio
import base64
import json
from collections import Counter
from pathlib import Path

import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact

from bouncer.errors import KeyRefused
from flows.ingest import ingest
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue
from tests.flows.runs import ingested, subflows_of, tasks_of, until_it_holds
from tests.prefect_server import send_what_waits
from tests.sandbox_process import SandboxHandle

pytestmark = on_sqlite

_MARKED = "marked-person-7f3a"
_MARKED_KEY = "marked-key-91bc"


@pytest.mark.mainline
async def test_a_run_can_be_followed_by_its_names_and_states(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Each batch is a subflow named for what is in it; upload, poll and load are its tasks, all completed."""
    engine = await set_up_account(batch_size=40, max_concurrent_batches=1)
    queue(engine, addresses(80), request=3)
    _, run = await ingested()
    subflows = await subflows_of(run)
    assert {subflow.name for subflow in subflows} == {
        "batch 1: 40 contacts of request 3",
        "batch 2: 40 contacts of request 3",
    }
    for subflow in subflows:
        assert subflow.state is not None
        assert (subflow.state.name, subflow.state.message) == ("Completed", "40 contacts settled, 0 requeued")
        assert subflow.state.data is None
        assert list(subflow.parameters) == ["batch_id"]
    async with get_client() as client:
        parent = await client.read_flow_run(run)
        names = {(await client.read_flow(flow)).name for flow in {parent.flow_id, *(s.flow_id for s in subflows)}}
    assert names == {"ingest", "verify-batch"}
    assert (parent.name, parent.state_name) == ("all requests", "Completed")

    @until_it_holds
    async def recorded() -> None:
        of_batches = await tasks_of(*(subflow.id for subflow in subflows))
        assert Counter(task.name for task in of_batches) == {"upload": 2, "poll": 2, "load": 2}
        of_parent = await tasks_of(run)
        assert {"check limits", "check account", "recover", "claim"} <= {task.name for task in of_parent}
        assert {task.state_name for task in [*of_batches, *of_parent]} == {"Completed"}

    await recorded()
    found = {artifact.key: artifact for artifact in await _artifacts(run, *(subflow.id for subflow in subflows))}
    assert set(found) == {
        "ingest-summary",
        "lists",
        "request-3",
        "batch-1",
        "batch-2",
        "batch-1-verdicts",
        "batch-2-verdicts",
    }
    assert found["batch-1"].data == 100
    assert found["batch-1"].description == "Batch 1: 40 addresses at Bouncer"
    assert sum(int(row["contacts"]) for row in json.loads(str(found["batch-2-verdicts"].data))) == 40
    summary = str(found["ingest-summary"].data)
    assert summary.startswith("## drained: 80 contacts verified, 0 failed, 0 still wait\n")
    assert "| contacts | 80 |\n| verified | 80 |" in summary
    assert "| batches | 2 |" in summary
    assert "| deliverable |" in summary
    assert f"| credits used | {sandbox.ledger()['credits_charged']} |" in summary


@pytest.mark.mainline
async def test_no_address_and_no_key_reach_the_prefect_server(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, prefect_home: Path
) -> None:
    """Not in runs, logs, events, artifacts or stored results, not even where calls fail and retry."""
    sandbox.post("/_sandbox/keys", {"key": _MARKED_KEY, "credits": 1000})
    engine = await set_up_account(bouncer_api_key=_MARKED_KEY, batch_size=20)
    queue(engine, [*addresses(10, prefix=_MARKED), f"not an address {_MARKED}@"])
    sandbox.fault("status", operation="status", code=500, message=f"cannot verify {_MARKED}@example.com")
    sandbox.fault("cut_body", operation="download")
    summary, run = await ingested()
    assert (summary.verified, summary.failed) == (10, 1)
    sandbox.revoke(_MARKED_KEY)
    queue(engine, addresses(1, prefix=f"{_MARKED}-2"))
    with pytest.raises(KeyRefused):
        await ingest()

    @until_it_holds
    async def everything_arrived() -> None:
        await asyncio.to_thread(send_what_waits)
        assert {"upload", "poll", "load"} <= {
            task.name for task in await tasks_of(*(s.id for s in await subflows_of(run)))
        }
        stored = _everything_under(prefect_home)
        assert b"batch 1: 10 contacts of request 1" in stored
        assert b"10 contacts settled" in stored
        assert b"Bouncer answered 401 to credits" in stored
        assert _MARKED.encode() not in stored
        assert _MARKED_KEY.encode() not in stored

    await everything_arrived()
    for path in (prefect_home / "prefect" / "storage").iterdir():
        # No result is stored; of a failed run, Prefect stores the exception all the same.
        stored = base64.b64decode(path.read_bytes())
        assert b"bouncer.errors" in stored
        assert _MARKED.encode() not in stored
        assert _MARKED_KEY.encode() not in stored


async def _artifacts(*runs: object) -> list[Artifact]:
    of_runs = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=list(runs)))
    async with get_client() as client:
        return await client.read_artifacts(artifact_filter=of_runs)


def _everything_under(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
