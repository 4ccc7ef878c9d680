"""Programs of the cluster: started, watched, killed with all their children, and never left behind."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from tests.processes import descendants

__all__ = ["Program", "run_to_end", "until"]

_STOP_SECONDS = 15
# Kills a program and all that it has started once the bench is gone, however it went: its end of the pipe closes even
# then.
_WATCH = """
started_by() { for child in $(cat /proc/$1/task/*/children); do echo $child; started_by $child; done; }
read -r _
kill -STOP $1
kill -9 -$1 $(started_by $1)
"""


class Program:
    """A program that runs beside the bench, in a session of its own.

    Args:
        name: Its name, for people and for its log.
        command: What is run.
        environment: All of its environment.
        folder: Where its log goes, and where it runs.
        user: The user that it runs as; the bench's own if left out.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        environment: Mapping[str, str],
        folder: Path,
        user: str | None = None,
    ) -> None:
        self.name = name
        self._command = command
        self._environment = dict(environment)
        self._folder = folder
        self._user = user
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id, once it was started."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process.pid

    @property
    def end_of_log(self) -> str:
        """The last lines that it wrote."""
        return self._log.read_text(errors="replace")[-1500:] if self._log.exists() else ""

    def start(self) -> None:
        """Starts it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self._user,
            )
        self._watcher = subprocess.Popen(
            ["sh", "-c", _WATCH, "sh", str(self._process.pid)], stdin=subprocess.PIPE, start_new_session=True
        )

    def kill(self) -> None:
        """Kills it and all that it has started with SIGKILL, as the end of its machine would."""
        self._send(signal.SIGSTOP)
        self._kill(self._started())

    def stop(self) -> None:
        """Asks it to end, and kills what is left of it."""
        if self._process is None:
            return
        started = self._started()
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        self._kill(started)

    def _started(self) -> list[int]:
        # Not its process group alone: Prefect's worker gives each run a session of its own.
        return [] if self._process is None else descendants(self._process.pid)

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _kill(self, started: list[int]) -> None:
        self._send(signal.SIGKILL)
        for process in started:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._bury()

    def _bury(self) -> None:
        if self._watcher is not None and self._watcher.stdin is not None:
            self._watcher.kill()
            self._watcher.wait()
            self._watcher.stdin.close()
            self._watcher = None
        if self._process is not None:
            self._process.wait()


def run_to_end(
    name: str,
    command: list[str],
    environment: Mapping[str, str],
    folder: Path,
    *,
    cwd: Path | None = None,
    user: str | None = None,
) -> None:
    """Runs a command to its end.

    Args:
        name: Its name, for people and for its log.
        command: What is run.
        environment: All of its environment.
        folder: Where its log goes.
        cwd: Where it runs; there too if left out.
        user: The user that it runs as; the bench's own if left out.

    Raises:
        RuntimeError: It ended with another code than 0; the text holds what it wrote.
    """
    done = subprocess.run(
        command,
        cwd=cwd or folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        user=user,
        check=False,
    )
    (folder / f"{name}.log").write_text(done.stdout + done.stderr)
    if done.returncode:
        raise RuntimeError(f"{name} ended with {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")


def until(reached: Callable[[], bool], what: str, seconds: float, programs: list[Program] | None = None) -> None:
    """Waits until something is so.

    Args:
        reached: Whether it is.
        what: What it is, for people.
        seconds: After which it will not come any more.
        programs: What must run meanwhile.

    Raises:
        RuntimeError: It did not come, or a program ended; the text holds the end of its log.
    """
    end = time.monotonic() + seconds
    while not reached():
        for program in programs or []:
            if not program.is_running:
                raise RuntimeError(f"{program.name} has ended: {program.end_of_log}")
        if time.monotonic() > end:
            logs = "".join(f"\n{program.name}: {program.end_of_log}" for program in programs or [])
            raise RuntimeError(f"waited {seconds:.0f} s for {what}{logs}")
        time.sleep(0.2)
