"""The sandbox as a process: how it is started, told things while it runs, killed and started again."""

import json
import subprocess
import sys

import httpx
import pytest

from tests.sandbox_process import running_sandbox


def test_a_sandbox_runs_killed_and_again_on_the_same_port() -> None:
    """A killed sandbox refuses connections, and one that is started in its place has forgotten everything."""
    with running_sandbox(keys={"a.key": 5}, fixed_seconds=0, reject_over_limit=True) as sandbox:
        headers = {"x-api-key": sandbox.key}
        assert sandbox.key == "a.key"
        created = httpx.post(
            f"{sandbox.url}/email/verify/batch", json=[{"email": "a@example.com"}], headers=headers
        ).json()
        answer = httpx.get(f"{sandbox.url}/email/verify/batch/{created['batchId']}/download", headers=headers)
        assert [result["email"] for result in answer.json()] == ["a@example.com"]
        assert sandbox.ledger()["batches"] == len(sandbox.batches()) == 1
        assert sandbox.post("/_sandbox/settings", {"max_batches": 3})["reject_over_limit"] is True
        sandbox.fault("status", operation="credits", code=500)
        assert httpx.get(f"{sandbox.url}/credits", headers=headers).status_code == 500
        assert [fault["fired"] for fault in sandbox.faults()] == [1]
        sandbox.clear_faults()
        assert sandbox.faults() == []
        sandbox.kill()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{sandbox.url}/credits", headers=headers)
        with running_sandbox(port=sandbox.port) as again:
            assert again.url == sandbox.url
            assert again.ledger()["batches"] == 0
            assert httpx.get(f"{again.url}/credits", headers=headers).status_code == 401


def test_a_sandbox_tells_where_it_listens_in_one_line() -> None:
    """Standard output holds one line of JSON and nothing else, and SIGTERM ends the process."""
    process = subprocess.Popen([sys.executable, "-m", "sandbox", "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        where = json.loads(process.stdout.readline())
        assert where["url"] == f"http://127.0.0.1:{where['port']}/v1.1"
        health = httpx.get(f"http://127.0.0.1:{where['port']}/_sandbox/health")
        assert health.json() == {"ok": True}
        process.terminate()
        assert process.stdout.read() == ""
    assert process.wait(timeout=30) != 0


def test_a_sandbox_ends_with_whoever_holds_its_input() -> None:
    """A demo that is killed leaves none behind: the pipe from it is at its end then."""
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--until-input-ends"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        where = json.loads(process.stdout.readline())
        assert httpx.get(f"http://127.0.0.1:{where['port']}/_sandbox/health").json() == {"ok": True}
        process.stdin.close()
        assert process.wait(timeout=30) == 0


def test_a_setting_that_cannot_be_used_is_refused() -> None:
    """A misspelt or impossible setting ends the start with a message instead of being ignored."""
    for option in ["--no-such-setting=1", "--max-batches=0"]:
        started = subprocess.run(
            [sys.executable, "-m", "sandbox", "--port", "0", option], capture_output=True, text=True, check=False
        )
        assert started.returncode != 0
        assert started.stdout == ""
        assert option[2:].partition("=")[0].replace("-", "_") in started.stderr.replace("-", "_")
