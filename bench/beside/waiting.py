"""Everything that a person waits for, done once in a tree: commands, the first upload, the prompt at the end."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bench.beside.checkout import Checkout, local_server_of
from bench.servers import Sandbox

__all__ = ["TO_REACH", "waited_for"]

_PATIENCE_SECONDS = 120.0
_CONTACTS = 200

TO_REACH = {
    "`python -c pass`": None,
    "`--help`": 0.25,
    "`status`": 0.5,
    "`import` of one line": 0.5,
    "`setup` when all is right": 1.5,
    "`ingest`, nothing waiting, server up": 1.5,
    "`ingest` to its first upload, first time ever": 6.0,
    "`ingest` to its first upload, no server": 4.0,
    "`ingest` to its first upload, server up": 2.0,
    "last verdict stored to the prompt, no server": 0.7,
    "last verdict stored to the prompt, server up": 0.7,
    "`ingest` without a key": 0.5,
    "`import` of a missing file": 0.5,
    "`status` with a bad URL": 0.5,
}
"""Seconds that are aimed at on two quiet cores, by what is waited for; None for none."""


def waited_for(checkout: Checkout, sandbox: Sandbox, folder: Path) -> dict[str, float]:
    """Does everything once, in a home that is new.

    Args:
        checkout: The tree.
        sandbox: Its Bouncer, which takes little more than a second for a batch.
        folder: An empty one, where all files go.

    Returns:
        Seconds by the names of ``TO_REACH``.
    """
    one = folder / "one.csv"
    one.write_text("email\nanna@example.com\n")
    database = folder / "flows" / "contacts.db"
    home = {"HOME": str(folder), "PATH": os.environ["PATH"], "BOUNCER_FLOWS_HOME": str(folder / "flows")}
    account = {
        **home,
        # Whoever has a server of his own has it set.
        "DATABASE_URL": f"sqlite:///{database}",
        "BOUNCER_API_KEY": "sandbox-key",
        "BOUNCER_API_BASE_URL": sandbox.url,
        "POLL_SECONDS_MIN": "1",
        "POLL_SECONDS_MAX": "1",
    }
    # Of its own: a version that starts a server before it refuses would have one ready for what comes first later.
    nothing = {**home, "BOUNCER_FLOWS_HOME": str(folder / "refused")}
    (bouncer_flows,) = checkout.program("bouncer-flows")
    figures = {
        "`python -c pass`": _seconds([sys.executable, "-c", "pass"], home),
        "`--help`": _seconds([bouncer_flows, "--help"], home),
        "`ingest` without a key": _refused([bouncer_flows, "ingest"], nothing),
        "`import` of a missing file": _refused([bouncer_flows, "import", str(folder / "missing.csv")], nothing),
        "`status` with a bad URL": _refused([bouncer_flows, "status"], {**nothing, "DATABASE_URL": "mysql://nobody"}),
    }
    figures["`import` of one line"] = _second_time([bouncer_flows, "import", str(one)], home)
    figures["`status`"] = _second_time([bouncer_flows, "status"], home)

    def ingest(where: str) -> None:
        many = folder / f"{where}.csv"
        many.write_text("email\n" + "".join(f"{where[:2]}{each}@example{each}.com\n" for each in range(_CONTACTS)))
        _seconds([bouncer_flows, "import", str(many)], home)
        to_upload, to_prompt = _ingest([bouncer_flows, "ingest"], account, sandbox, database)
        figures[f"`ingest` to its first upload, {where}"] = to_upload
        figures[f"last verdict stored to the prompt, {where}"] = to_prompt

    ingest("first time ever")
    ingest("no server")
    with local_server_of(checkout, folder / "flows"):
        _seconds([bouncer_flows, "setup"], account)
        figures["`setup` when all is right"] = _seconds([bouncer_flows, "setup"], account)
        ingest("server up")
        figures["`ingest`, nothing waiting, server up"] = _seconds([bouncer_flows, "ingest"], account)
    return figures


def _second_time(command: list[str], environment: dict[str, str]) -> float:
    # The first one makes the tables.
    _seconds(command, environment)
    return _seconds(command, environment)


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    ended, seconds = _run(command, environment)
    if ended.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {ended.stderr.decode(errors='replace')[-1000:]}")
    return seconds


def _refused(command: list[str], environment: dict[str, str]) -> float:
    ended, seconds = _run(command, environment)
    if ended.returncode == 0:
        raise RuntimeError(f"{' '.join(command)} was to be refused")
    return seconds


def _run(command: list[str], environment: dict[str, str]) -> tuple[subprocess.CompletedProcess[bytes], float]:
    began = time.perf_counter()
    ended = subprocess.run(  # noqa: S603  # our own programs
        command,
        cwd=environment["HOME"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    return ended, time.perf_counter() - began


def _ingest(command: list[str], environment: dict[str, str], sandbox: Sandbox, database: Path) -> tuple[float, float]:
    # To its first upload, and from its last verdict to its end.
    before = len(sandbox.batches())
    began = time.time()
    process = subprocess.Popen(  # noqa: S603  # our own program
        command,
        cwd=environment["HOME"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    stored = None
    for _ in _looks(process):
        if stored is None and not _waits(database):
            stored = time.time()
    ended = time.time()
    created = [float(batch["created"]) for batch in sandbox.batches()[before:]]
    if process.returncode != 0 or not created:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode} and {len(created)} batches")
    return min(created) - began, max(0.0, ended - (stored or ended))


def _looks(process: subprocess.Popen[bytes]) -> Iterator[None]:
    end = time.monotonic() + _PATIENCE_SECONDS
    while process.poll() is None:
        if time.monotonic() > end:
            process.kill()
            raise RuntimeError("it does not come to its end")
        yield
        time.sleep(0.01)


def _waits(database: Path) -> bool:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        asked = "SELECT EXISTS (SELECT 1 FROM Bouncer_Queue WHERE status IN ('queued', 'assigned'))"
        return bool(connection.execute(asked).fetchone()[0])
