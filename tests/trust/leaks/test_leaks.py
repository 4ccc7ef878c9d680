"""Keys, passwords and addresses stay where they belong, through success, every error and a crash."""

import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bouncer.storage.engine import engine_for
from deployments.server.local_server import LocalServer, local_server
from deployments.serving.metrics_endpoint import serving_metrics
from deployments.settings import Settings
from tests.deployments.running_commands import Ended
from tests.ports import free_port
from tests.sandbox_process import SandboxHandle, running_sandbox
from tests.trust.leaks.installation import KEY, NEW_KEY, QUOTING, Installation, decrypted_blocks, listings, until
from tests.trust.leaks.searching import ADDRESS, addresses


@until
def _wait_for(sandbox: SandboxHandle, operation: str, count: int) -> None:
    assert sandbox.ledger()["requests_by_operation"].get(operation, 0) >= count


@pytest.fixture
def installation(tmp_path: Path, mariadb_url: str) -> Iterator[Installation]:
    """The installation."""
    # Side by side: an upload whose answer was lost may be the one that is stuck, and would keep all others waiting.
    with running_sandbox(fixed_seconds=0.4, parallel=3, keys={KEY: 10_000}) as sandbox:
        yield Installation(tmp_path, sandbox, mariadb_url)


def _arm(sandbox: SandboxHandle) -> None:
    """One fault for each row of the README's table that ends within seconds; test_slow_rows has the others."""
    sandbox.post("/_sandbox/settings", {"missing_results": 0.05, "unmatched_results": 0.05})
    for fault in (
        {"kind": "status", "operation": "create", "code": 429, "retry_after": 0},
        {"kind": "status", "operation": "status", "code": 503, "message": QUOTING},
        {"kind": "refuse", "operation": "status"},
        {"kind": "lost_answer", "operation": "create"},
        {"kind": "status", "operation": "create", "code": 500, "message": QUOTING},
        {"kind": "status", "operation": "create", "code": 400, "message": QUOTING, "times": 3},
        {"kind": "status", "operation": "download", "code": 405, "message": QUOTING},
        {"kind": "cut_body", "operation": "download"},
        {"kind": "malformed", "operation": "download"},
        {"kind": "stuck", "fraction": 0.5},
    ):
        sandbox.fault(**fault)


@pytest.mark.audit
@pytest.mark.timeout(900)
def test_no_key_and_no_address_leaves_its_place(installation: Installation) -> None:
    """After success, errors, a refused key, a lack of credits and kill -9, a search of everything finds nothing."""
    home, sandbox = installation.home, installation.sandbox
    given = home / "given"
    given.mkdir()
    file = given / "contacts.csv"
    file.write_text("\n".join(["email", *addresses(200), f"{ADDRESS} is no address", f"=cmd|{ADDRESS}@x"]) + "\n")
    server: LocalServer
    with local_server(home / "flows") as server:
        said = [installation.run("import", str(file), "--user", addresses(1)[0])]
        _arm(sandbox)
        said.append(installation.ingest())
        assert said[-1].answer["outcome"] == "drained", said[-1].err[-3000:]
        assert all(fault["fired"] for fault in sandbox.faults()), sandbox.faults()

        sandbox.clear_faults()
        more = given / "more.csv"
        more.write_text("\n".join(["email", *addresses(120, first=500)]) + "\n")
        said.append(installation.run("import", str(more)))
        sandbox.post("/_sandbox/settings", {"fixed_seconds": 20})
        # Enough for one batch; the others are answered 402.
        sandbox.post("/_sandbox/credits", {"key": KEY, "credits": 40})
        uploads = sandbox.ledger()["requests_by_operation"]["create"]
        with installation.start("ingest", "--json", "--verbose") as killed:
            _wait_for(sandbox, "create", uploads + 2)
            killed.send(signal.SIGKILL)
            killed.wait(10)
            said.append(Ended(0, "", killed.err))
        for batch in [batch for batch in sandbox.batches() if batch["completed_at"] is None]:
            sandbox.post(f"/_sandbox/batches/{batch['id']}/complete")
        sandbox.post("/_sandbox/settings", {"fixed_seconds": 0.4})

        sandbox.fault("status", operation="any", code=401, message=QUOTING, times=None)
        said.append(installation.ingest())
        assert "[key] may not send [address]" in said[-1].err
        sandbox.clear_faults()
        sandbox.post("/_sandbox/credits", {"key": KEY, "credits": 10_000})
        sandbox.post("/_sandbox/keys", {"key": NEW_KEY, "same_account_as": KEY})
        said += [installation.run("setup", "--yes", key=NEW_KEY), installation.ingest(key=NEW_KEY)]
        assert said[-1].answer["left"] == 0, said[-1].err[-3000:]
        results = given / "results.csv"
        said += [installation.run("export", str(results)), installation.run("status"), installation.run("requeue")]
        installation.seen |= installation.marks.in_processes(
            [int((home / "flows" / "server.pid").read_text())], environments=True
        )
        with httpx.Client(base_url=server.api_url, timeout=30) as client:
            listed = {**listings(client), "metrics": _metrics(installation.database_url)}

    assert installation.seen == {}
    assert [ended.err for ended in said if installation.marks.within((ended.out + ended.err).encode())] == []
    asked_for = {file, more, results, given / "contacts.rejected.csv"}
    assert installation.marks.in_files(home, but=asked_for) == {}
    assert [kind for kind, text in listed.items() if installation.marks.within(text)] == []
    assert list((home / "tmp").iterdir()) == []
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in (home / "flows").glob("*.log"))

    # The search finds what is there: in the files that were asked for, and in the blocks once they are decrypted.
    assert installation.marks.in_files(given).keys() == {path.name for path in asked_for}
    assert NEW_KEY in "".join(decrypted_blocks(home / "flows" / "prefect" / "prefect.db"))
    assert all(listed.values())


def _metrics(database_url: str) -> bytes:
    """What monitoring is told."""
    engine = engine_for(database_url)
    with serving_metrics(Settings(metrics_port=free_port()), engine) as port:
        told = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).raise_for_status().content
    engine.dispose()
    return told
