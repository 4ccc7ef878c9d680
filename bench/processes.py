"""Processes of ``bouncer-flows`` and of Prefect, their processor time and memory; needs Linux, for ``/proc``."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.servers import PROJECT

__all__ = ["Command", "Usage", "running", "usage_of", "usage_so_far"]

_TICKS = os.sysconf("SC_CLK_TCK")
_LOOK_SECONDS = 0.05
_BOUNCER_FLOWS = (sys.executable, "-m", "deployments.command_line")


class Usage:
    """Resources that a process took.

    Attributes:
        seconds: From its start to its end.
        cpu_seconds: Processor time, without that of its children.
        peak_mb: The most memory that it held, in 10 ** 6 bytes.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self.peak_mb = 0.0


class Command:
    """A process of ``bouncer-flows``, or of another program.

    Args:
        arguments: The command line, without the program's name.
        environment: The variables that it needs, beside those that name paths.
        log: Where its standard error goes.
        program: The beginning of the command line: what is run.

    Attributes:
        began: The moment of its start, in epoch seconds.
        usage: Resources that it has taken so far.
    """

    def __init__(
        self, arguments: list[str], environment: Mapping[str, str], log: Path, program: Sequence[str] = _BOUNCER_FLOWS
    ) -> None:
        self._log = log
        self.began = time.time()
        self._began = time.perf_counter()
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(  # noqa: S603  # our own programs
                [*program, *arguments],
                cwd=PROJECT,
                env={"PATH": os.environ["PATH"], "HOME": str(log.parent), **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        self.usage = Usage()

    def look(self) -> bool:
        """Notes what it takes; gives whether it still runs."""
        pid = self._process.pid
        # Without reaping it: what a dead process took can be read until its parent has asked for its exit code.
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        self.usage.cpu_seconds = _cpu_seconds(pid)
        self.usage.seconds = time.perf_counter() - self._began
        if ended is not None:
            return False
        self.usage.peak_mb = _peak_mb(pid) or self.usage.peak_mb
        return True

    def wait(self, seconds: float = 1200) -> Usage:
        """Waits for its end.

        Raises:
            RuntimeError: It failed, or it still runs after so many seconds.
        """
        while self.look():
            if self.usage.seconds > seconds:
                raise RuntimeError(f"still runs after {seconds:.0f} s: {self._words()}")
            time.sleep(_LOOK_SECONDS)
        if self._process.wait() != 0:
            raise RuntimeError(f"ended with {self._process.returncode}: {self._words()}")
        return self.usage

    def kill(self) -> None:
        """Kills it, if it still runs."""
        self._process.kill()
        self._process.wait()

    def _words(self) -> str:
        return self._log.read_text(errors="replace")[-1000:]


@contextmanager
def running(
    arguments: list[str], environment: Mapping[str, str], log: Path, program: Sequence[str] = _BOUNCER_FLOWS
) -> Iterator[Command]:
    """Runs a command while the block does; killed where the block ends before it."""
    command = Command(arguments, environment, log, program)
    try:
        yield command
    finally:
        command.kill()


def usage_of(arguments: list[str], environment: Mapping[str, str], log: Path) -> Usage:
    """Runs a command to its end and gives what it took."""
    with running(arguments, environment, log) as command:
        return command.wait()


def usage_so_far(pid: int) -> Usage:
    """Reads the resources that a running process has taken since its start."""
    usage = Usage()
    usage.cpu_seconds, usage.peak_mb = _cpu_seconds(pid), _peak_mb(pid)
    return usage


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _peak_mb(pid: int) -> float:
    # A process that has ended tells none.
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith("VmHWM:")), 0.0)
