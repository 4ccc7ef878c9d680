"""The sandbox as a process of its own, for tests that need a Bouncer to talk to."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from sandbox import SandboxSettings

__all__ = ["SandboxHandle", "running_sandbox"]

_PROJECT = Path(__file__).resolve().parents[1]
_STOP_SECONDS = 10.0


class SandboxHandle:
    """A sandbox that runs.

    Attributes:
        url: The base URL of its API, as a client is configured with it.
        key: One of its keys.
        port: Where it listens.
        process: Its process.
    """

    def __init__(self, process: subprocess.Popen[str], port: int, url: str, key: str) -> None:
        self.process = process
        self.port = port
        self.url = url
        self.key = key
        self._control = httpx.Client(base_url=f"{url.removesuffix('/v1.1')}/_sandbox", timeout=30)

    def ledger(self, *, list_twice: bool = False) -> dict[str, Any]:
        """What it saw; with ``list_twice`` also the addresses that were in more than one batch."""
        ledger: dict[str, Any] = self._get("/ledger", list=list_twice)
        return ledger

    def batches(self) -> list[dict[str, Any]]:
        """Its batches, in the order of their creation."""
        batches: list[dict[str, Any]] = self._get("/batches")
        return batches

    def faults(self) -> list[dict[str, Any]]:
        """The faults that are armed, with how often each fired."""
        faults: list[dict[str, Any]] = self._get("/faults")
        return faults

    def fault(self, kind: str, **fault: Any) -> None:
        """Arms a fault; see ``sandbox.service.faults.Fault``."""
        self.post("/_sandbox/faults", {"kind": kind, **fault})

    def clear_faults(self) -> None:
        """Disarms all faults."""
        self._control.delete("/faults").raise_for_status()

    def post(self, path: str, content: Any = None) -> Any:
        """Posts JSON to a control endpoint, ``/_sandbox/…``, and returns its answer."""
        answer = self._control.post(path.removeprefix("/_sandbox"), json=content).raise_for_status()
        return answer.json()

    def revoke(self, key: str) -> None:
        """Revokes a key."""
        self._control.delete(f"/keys/{key}").raise_for_status()

    def put_ahead(self, seconds: float) -> None:
        """Puts somebody else's list into the line of its account; it takes so long."""
        self.post("/_sandbox/ahead", {"key": self.key, "seconds": seconds})

    def clear_ahead(self) -> None:
        """Takes the lists of somebody else out of that line."""
        self._control.delete(f"/ahead/{self.key}").raise_for_status()

    def kill(self) -> None:
        """Kills it with SIGKILL, as a crash would; what it knew is lost."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Stops it, if it still runs."""
        self._control.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _get(self, path: str, **query: Any) -> Any:
        return self._control.get(path, params=query).raise_for_status().json()


@contextmanager
def running_sandbox(port: int = 0, **settings: Any) -> Iterator[SandboxHandle]:
    """Runs a sandbox as long as the context lasts.

    Args:
        port: Where it listens; 0 takes a free port.
        settings: Fields of `SandboxSettings`.

    Yields:
        The sandbox, once it answers.
    """
    wanted = SandboxSettings(**settings)
    command = [sys.executable, "-m", "sandbox", "--port", str(port)]
    for name, value in wanted.model_dump(include=set(settings), exclude_none=True).items():
        text = json.dumps(value)
        command.append(f"--{name.replace('_', '-')}={text}")
    process = subprocess.Popen(command, cwd=_PROJECT, stdout=subprocess.PIPE, text=True)
    if process.stdout is None:
        raise AssertionError("a pipe was asked for")
    announced = process.stdout.readline()
    if not announced:
        raise RuntimeError(f"the sandbox did not start, exit code {process.wait()}; its log says why")
    where = json.loads(announced)
    handle = SandboxHandle(process, where["port"], where["url"], next(iter(wanted.keys)))
    try:
        yield handle
    finally:
        handle.close()
