"""Processes of ``bouncer-flows`` that a scenario starts and kills.

A start costs seconds of CPU, nearly all of it imports. So most of them are forked from a process that has imported
everything and done nothing: each is a process of its own all the same, and dies of SIGKILL like any other.
"""

import atexit
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import orjson

__all__ = ["Command", "ForkedCommand", "PlainCommand", "prepare_forks"]

_PROJECT = Path(__file__).resolve().parents[2]
_IN_FORK = "tests.chaos.forked"
_PRELOADED = [_IN_FORK, "deployments.terminal.reporting", "deployments.running"]
_forks = multiprocessing.get_context("forkserver")


def prepare_forks(*modules: str) -> None:
    """Says what the process that others are forked from imports; must come before the first of them.

    Args:
        modules: What the harness's own main module imports, which is imported in every fork.
    """
    _forks.set_forkserver_preload([*_PRELOADED, *modules])


class Command:
    """One process of ``bouncer-flows``, whose output goes to files.

    Args:
        folder: Where its output goes.
        name: A name for the files.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._stdout = folder / f"{name}.json"
        self._stderr = folder / f"{name}.log"

    @property
    def pid(self) -> int:
        """Its process id."""
        raise NotImplementedError

    @property
    def code(self) -> int | None:
        """Its exit code, negative where a signal ended it, or None while it runs."""
        raise NotImplementedError

    @property
    def log(self) -> str:
        """What it wrote on standard error."""
        return self._stderr.read_text(errors="replace") if self._stderr.exists() else ""

    @property
    def answer(self) -> dict[str, Any]:
        """The object that it wrote on standard output; empty where it wrote none."""
        written = self._stdout.read_bytes() if self._stdout.exists() else b""
        answer: dict[str, Any] = orjson.loads(written) if written.strip() else {}
        return answer

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal, if it still runs."""
        if self.code is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills it with SIGKILL."""
        self.send(signal.SIGKILL)
        self.wait(30)

    def wait(self, seconds: float) -> int:
        """Waits for its end.

        Returns:
            Its exit code.

        Raises:
            TimeoutError: It still runs.
        """
        end = time.monotonic() + seconds
        while (code := self.code) is None:
            if time.monotonic() > end:
                raise TimeoutError(f"process {self.pid} still runs after {seconds:.0f} s; it said: {self.log[-600:]}")
            time.sleep(0.05)
        return code


class ForkedCommand(Command):
    """A process with everything imported already; needs `prepare_forks`.

    Args:
        arguments: The command line, without the program's name.
        environment: All of its environment.
        folder: Where its output goes.
        name: A name for the files.
    """

    def __init__(self, arguments: list[str], environment: Mapping[str, str], folder: Path, name: str) -> None:
        super().__init__(folder, name)
        files = str(self._stdout), str(self._stderr)
        self._process: ForkServerProcess = _forks.Process(
            target=_become, args=(arguments, dict(environment), *files), daemon=False
        )
        self._process.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return int(self._process.pid or 0)

    @property
    def code(self) -> int | None:
        """Its exit code, negative where a signal ended it, or None while it runs."""
        return self._process.exitcode


class PlainCommand(Command):
    """A process as a user starts it, in a group of its own.

    Args:
        arguments: The command line, without the program's name.
        environment: All of its environment.
        folder: Where its output goes.
        name: A name for the files.
    """

    def __init__(self, arguments: list[str], environment: Mapping[str, str], folder: Path, name: str) -> None:
        super().__init__(folder, name)
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deployments.command_line", *arguments],
                cwd=_PROJECT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code, negative where a signal ended it, or None while it runs."""
        return self._process.poll()


def _become(arguments: list[str], environment: dict[str, str], stdout: str, stderr: str) -> None:
    # What a fresh interpreter does before the command runs: output, environment, and Prefect's look at both.
    for path, descriptor in ((stdout, 1), (stderr, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = ["bouncer-flows", *arguments]

    try:
        importlib.import_module(_IN_FORK).run_command_line()
    finally:
        # A multiprocessing child skips what an interpreter does at its end, and with it what Prefect sends then.
        atexit._run_exitfuncs()
