"""Programs of the cluster: of what is killed, nothing is left."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.programs import Program, until

_STARTS_A_RUN = """
import subprocess, sys, time
run = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(run.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("end", [Program.kill, Program.stop])
def test_runs_die_with_their_worker(tmp_path: Path, end: Callable[[Program], None]) -> None:
    """Prefect's worker gives each run a session of its own; one that outlived it would be no loss of a machine."""
    worker = Program("worker", [sys.executable, "-c", _STARTS_A_RUN], os.environ, tmp_path)
    worker.start()
    try:
        until(lambda: worker.end_of_log.endswith("\n"), "the run's start", 30, [worker])
        run = int(worker.end_of_log)
        assert _is_alive(run)
    finally:
        end(worker)
    assert not worker.is_running
    until(lambda: not _is_alive(run), "the run's end", 30)


def _is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2]
    except OSError:
        return False
    # In a container nobody may ask for the exit code of what has lost its parent.
    return not state.startswith("Z")
