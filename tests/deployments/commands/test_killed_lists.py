"""``verify`` dies at any moment; the same command finishes the list, and nothing is paid twice."""

import csv
import os
import random
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import func, select

from bouncer.storage.engine import engine_for, read
from bouncer.storage.tables import Batch
from tests.deployments.running_commands import Started, clean_environment
from tests.sandbox_process import SandboxHandle, running_sandbox

_LINES = 360
_MOMENTS = 20
_PATIENCE = 120


def _list(folder: Path, number: int) -> Path:
    path = folder / f"list {number}.csv"
    rows = [f'{line},person{line}.{number}@d{line % 9}.example,"Straße {line}"\n' for line in range(_LINES)]
    path.write_text("No,E-Mail,Ort\n" + "".join(rows), encoding="utf-8")
    return path


def _finished(file: Path, folder: Path, environment: Mapping[str, str]) -> dict[str, int]:
    # The same command, to its end; its answer.
    with Started(["verify", str(file), "--json"], folder, environment) as command:
        ended = command.ended(_PATIENCE)
    assert ended.code == 0, ended.err
    return ended.answer


def _killed(file: Path, folder: Path, environment: Mapping[str, str], number: signal.Signals, moment: float) -> None:
    with Started(["verify", str(file), "--json"], folder, environment) as command:
        with suppress(subprocess.TimeoutExpired):
            # It may be done before.
            command.wait(moment)
        command.send(number)
        assert command.wait(_PATIENCE) in {0, 2, 130, -number}, command.err
        assert "Traceback" not in command.err


@pytest.mark.audit
@pytest.mark.timeout(1800)
def test_a_list_that_was_killed_is_finished_by_the_same_command(tmp_path: Path) -> None:
    """At twenty random moments, by kill -9 and by Ctrl-C: every line comes back, and no address is paid for twice."""
    draw = random.Random(21)
    database = f"sqlite:///{tmp_path / 'contacts.db'}"
    with running_sandbox(seconds_per_batch=0.5, parallel=2) as sandbox:
        environment = clean_environment(
            tmp_path,
            DATABASE_URL=database,
            BOUNCER_API_KEY=sandbox.key,
            BOUNCER_API_BASE_URL=sandbox.url,
            BATCH_SIZE="100",
            POLL_SECONDS_MIN="0.5",
            POLL_SECONDS_MAX="1",
        )
        try:
            began = time.monotonic()
            _finished(_list(tmp_path, 0), tmp_path, environment)
            whole = time.monotonic() - began
            for number in range(1, _MOMENTS + 1):
                file = _list(tmp_path, number)
                how = signal.SIGKILL if number % 2 else signal.SIGINT
                _killed(file, tmp_path, environment, how, draw.uniform(0, whole))
                _assert_whole(file, _finished(file, tmp_path, environment))
            _assert_paid_once(sandbox, database)
        finally:
            with suppress(OSError, ValueError):
                # The server of a command that was killed outlives it.
                os.kill(int((tmp_path / "flows" / "server.pid").read_text()), signal.SIGKILL)


def _assert_whole(file: Path, answer: Mapping[str, object]) -> None:
    assert (answer["lines"], answer["rejected"], answer["written"]) == (_LINES, 0, _LINES)
    with (
        file.open(encoding="utf-8", newline="") as lines,
        file.with_suffix(".verified.csv").open(encoding="utf-8", newline="") as result,
    ):
        own, back = list(csv.reader(lines)), list(csv.DictReader(result))
    assert [list(row.values())[:3] for row in back] == own[1:]
    assert {row["outcome"] for row in back} == {"completed"}
    assert all(row["status"] and row["advice"] for row in back)


def _assert_paid_once(sandbox: SandboxHandle, database: str) -> None:
    # A kill between an upload and its answer leaves it in doubt; such a case is counted, and there may be none else.
    in_doubt = read(
        engine_for(database), lambda c: c.scalar(select(func.sum(Batch.ambiguous_uploads * Batch.quantity)))
    )
    ledger = sandbox.ledger()
    assert ledger["addresses_charged_twice"] <= (in_doubt or 0)
    assert ledger["addresses_uploaded"] >= _LINES * (_MOMENTS + 1)
