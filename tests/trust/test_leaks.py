"""Keys, passwords and addresses stay where they belong, through success, every error and a crash."""

import re
import signal
import socket
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from cryptography.fernet import Fernet
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from bouncer.database import engine_for
from deployments.local_server import LocalServer, local_server
from deployments.metrics_endpoint import serving_metrics
from deployments.settings import Settings
from tests.deployments.commands import Ended, Started, clean_environment
from tests.processes import descendants
from tests.sandbox_process import SandboxHandle, running_sandbox
from tests.trust.leaks import ADDRESS, Marks, addresses

_KEY = "marked-key-of-the-account"
_NEW_KEY = "marked-key-that-was-rotated"
_QUOTING = f"key {_KEY} may not send {ADDRESS}.7@gmail.com"
"""What a careless service might answer."""


@retry(retry=retry_if_exception_type(AssertionError), wait=wait_fixed(0.1), stop=stop_after_delay(60), reraise=True)
def _wait_for(sandbox: SandboxHandle, operation: str, count: int) -> None:
    assert sandbox.ledger()["requests_by_operation"].get(operation, 0) >= count


class _Installation:
    """A user's home with a server of its own, MariaDB elsewhere, and every word that was said there."""

    def __init__(self, home: Path, sandbox: SandboxHandle, database_url: str) -> None:
        self.home = home
        self.sandbox = sandbox
        self.database_url = database_url
        self.marks = Marks.of(_KEY, database_url, _NEW_KEY)
        self.seen: dict[str, set[str]] = {}
        temporary = home / "tmp"
        temporary.mkdir()
        self._environment = clean_environment(
            home,
            TMPDIR=str(temporary),
            DATABASE_URL=database_url,
            BOUNCER_API_BASE_URL=sandbox.url,
            BATCH_SIZE="30",
            MAX_CONCURRENT_BATCHES="3",
            RATE_LIMIT_PER_MINUTE="6000",
            POLL_SECONDS_MIN="0.1",
            POLL_SECONDS_MAX="0.3",
            BATCH_DEADLINE_SECONDS="6",
            # The worst that a user may ask for.
            PREFECT_LOGGING_LEVEL="DEBUG",
            PREFECT_LOGGING_ROOT_LEVEL="DEBUG",
            PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL="DEBUG",
        )

    def run(self, *arguments: str) -> Ended:
        """Runs a command that needs no Prefect to its end."""
        with self.start(*arguments) as command:
            return command.ended()

    def start(self, *arguments: str, key: str = _KEY) -> Started:
        """Starts a command as the user has it."""
        return Started(list(arguments), self.home, {**self._environment, "BOUNCER_API_KEY": key})

    def ingest(self, *, key: str = _KEY) -> Ended:
        """Runs ingest to its end and looks at its processes meanwhile."""
        with self.start("ingest", "--json", "--verbose", key=key) as command:
            while command.code is None:
                self.look_at_processes(command)
                with suppress(Exception):
                    command.process.wait(0.3)
            return command.ended(1)

    def look_at_processes(self, command: Started) -> None:
        """Notes what others can see of a command and of what it has started; its own environment is the user's."""
        children = descendants(command.process.pid)
        self.seen |= self.marks.in_processes([command.process.pid], environments=False)
        self.seen |= self.marks.in_processes(children, environments=True)


@pytest.fixture
def installation(tmp_path: Path, mariadb_url: str) -> Iterator[_Installation]:
    """The installation."""
    with running_sandbox(fixed_seconds=0.4, keys={_KEY: 10_000}) as sandbox:
        yield _Installation(tmp_path, sandbox, mariadb_url)


def _arm(sandbox: SandboxHandle) -> None:
    """One fault for each row of the README's table that ends within seconds; test_slow_rows has the others."""
    sandbox.post("/_sandbox/settings", {"missing_results": 0.05, "unmatched_results": 0.05})
    for fault in (
        {"kind": "status", "operation": "create", "code": 429, "retry_after": 0},
        {"kind": "status", "operation": "status", "code": 503, "message": _QUOTING},
        {"kind": "refuse", "operation": "status"},
        {"kind": "lost_answer", "operation": "create"},
        {"kind": "status", "operation": "create", "code": 500, "message": _QUOTING},
        {"kind": "status", "operation": "create", "code": 400, "message": _QUOTING, "times": 3},
        {"kind": "status", "operation": "download", "code": 405, "message": _QUOTING},
        {"kind": "cut_body", "operation": "download"},
        {"kind": "malformed", "operation": "download"},
        {"kind": "stuck", "fraction": 0.5},
    ):
        sandbox.fault(**fault)


@pytest.mark.audit
@pytest.mark.timeout(900)
def test_no_key_and_no_address_leaves_its_place(installation: _Installation) -> None:
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
        sandbox.post("/_sandbox/credits", {"key": _KEY, "credits": 40})
        uploads = sandbox.ledger()["requests_by_operation"]["create"]
        with installation.start("ingest", "--json", "--verbose") as killed:
            _wait_for(sandbox, "create", uploads + 2)
            killed.send(signal.SIGKILL)
            killed.wait(10)
            said.append(Ended(0, "", killed.err))
        for batch in [batch for batch in sandbox.batches() if batch["completed_at"] is None]:
            sandbox.post(f"/_sandbox/batches/{batch['id']}/complete")
        sandbox.post("/_sandbox/settings", {"fixed_seconds": 0.4})

        sandbox.fault("status", operation="any", code=401, message=_QUOTING, times=None)
        said.append(installation.ingest())
        assert "[key] may not send [address]" in said[-1].err
        sandbox.clear_faults()
        sandbox.post("/_sandbox/credits", {"key": _KEY, "credits": 10_000})
        sandbox.post("/_sandbox/keys", {"key": _NEW_KEY, "same_account_as": _KEY})
        said.append(installation.ingest(key=_NEW_KEY))
        assert said[-1].answer["left"] == 0, said[-1].err[-3000:]
        results = given / "results.csv"
        said += [installation.run("export", str(results)), installation.run("status"), installation.run("requeue")]
        installation.seen |= installation.marks.in_processes(
            [int((home / "flows" / "server.pid").read_text())], environments=True
        )
        listed = {**_listings(server), "metrics": _metrics(installation.database_url)}

    assert installation.seen == {}
    assert [ended.err for ended in said if installation.marks.within((ended.out + ended.err).encode())] == []
    asked_for = {file, more, results, given / "contacts.rejected.csv"}
    assert installation.marks.in_files(home, but=asked_for) == {}
    assert [kind for kind, text in listed.items() if installation.marks.within(text)] == []
    assert list((home / "tmp").iterdir()) == []
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in (home / "flows").glob("*.log"))

    # The search finds what is there: in the files that were asked for, and in the blocks once they are decrypted.
    assert installation.marks.in_files(given).keys() == {path.name for path in asked_for}
    assert _NEW_KEY in "".join(_decrypted_blocks(home / "flows" / "prefect" / "prefect.db"))
    assert all(listed.values())


def _listings(server: LocalServer) -> dict[str, bytes]:
    """What the Prefect server tells of runs, logs, artifacts and events."""
    asked = {
        kind: httpx.post(f"{server.api_url}/{kind}/filter", json={"limit": 200}, timeout=30).raise_for_status().content
        for kind in ("flow_runs", "task_runs", "logs", "artifacts")
    }
    wanted = {"filter": {"event": {"prefix": [""]}}, "limit": 50}
    asked["events"] = httpx.post(f"{server.api_url}/events/filter", json=wanted, timeout=30).raise_for_status().content
    return asked


def _metrics(database_url: str) -> bytes:
    """What monitoring is told."""
    engine = engine_for(database_url)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = int(probe.getsockname()[1])
    with serving_metrics(Settings(metrics_port=free), engine) as port:
        told = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).raise_for_status().content
    engine.dispose()
    return told


def _decrypted_blocks(database: Path) -> list[str]:
    connection = sqlite3.connect(database)
    (stored,) = connection.execute("SELECT value FROM configuration WHERE key = 'ENCRYPTION_KEY'").fetchone()
    documents = [data for (data,) in connection.execute("SELECT data FROM block_document")]
    connection.close()
    found = re.search(r'"fernet_key": ?"([^"]+)"', stored)
    assert found is not None
    return [Fernet(found[1]).decrypt(document.strip('"')).decode() for document in documents]
