"""Garbage is collected aside: a writer that waits for a commit does not keep the thread that is to commit."""

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import sqlite3, sys, threading, time
from deployments.server.garbage_collection import collect_aside

if sys.argv[2] == "aside":
    collect_aside()


def connected():
    return sqlite3.connect(sys.argv[1], timeout=4, isolation_level=None, check_same_thread=False)


writer, waiter = connected(), connected()
writer.execute("PRAGMA journal_mode = WAL")
writer.execute("CREATE TABLE numbers AS SELECT 1 AS i")
writer.execute("BEGIN IMMEDIATE")
waiting = threading.Event()


def wait_for_the_writer():
    waiting.set()
    try:
        waiter.execute("UPDATE numbers SET i = 0")
        print("written")
    except sqlite3.OperationalError:
        # What it says is of the connection's last call, which may be the collector's.
        print("locked")


thread = threading.Thread(target=wait_for_the_writer)
# A cursor in the middle of its rows, of no table, which only the collector finds.
cycle = [waiter.execute("SELECT 1 UNION ALL SELECT 2")]
cycle[0].fetchone()
cycle.append(cycle)
thread.start()
waiting.wait()
time.sleep(0.5)
del cycle
# As a server does all the time: Python collects when there are so many new objects.
kept = [[] for _ in range(500_000)]
time.sleep(1.5)
writer.execute("COMMIT")
thread.join()
"""


def _said(folder: Path, how: str) -> str:
    command = [sys.executable, "-c", _PROGRAM, str(folder / f"{how}.db"), how]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_a_cursor_that_is_collected_does_not_stop_the_thread_that_is_to_commit(tmp_path: Path) -> None:
    """The local Prefect server stood still for a minute: its event loop waited for who waited for its commit."""
    assert _said(tmp_path, "by the way") == "locked"
    assert _said(tmp_path, "aside") == "written"
