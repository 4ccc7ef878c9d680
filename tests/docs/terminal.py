"""A terminal in which a page's commands are typed: one shell, which keeps its folder and its variables."""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Ended", "Terminal"]

_LOOK_SECONDS = 0.05
_STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Ended:
    """How a block of commands ended.

    Attributes:
        code: Its exit code, or None where it runs on, or the time was over.
        printed: What it printed so far, to both outputs.
    """

    code: int | None
    printed: str


class Terminal:
    """One shell, with all that is started in it.

    Args:
        folder: Where it is opened.
        notes: A folder for the shell's own files, which nobody else uses.
        environment: All variables that it begins with.
    """

    def __init__(self, folder: Path, notes: Path, environment: Mapping[str, str]) -> None:
        notes.mkdir(parents=True)
        self._notes = notes
        self._count = 0
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        """The folder that the shell is in."""
        self.run("pwd > " + shlex.quote(str(self._notes / "folder")), seconds=10)
        return Path((self._notes / "folder").read_text().strip())

    def type(self, text: str) -> None:
        """Types commands, and does not wait for them."""
        self._count += 1
        # In braces, so that the outputs of all of them go to one file; the shell stops at the first that fails.
        script = (
            f"set -e\ntrap 'echo $? > {self._file('code')}' EXIT\n"
            f"{{\n{text}\n}} > {self._file('printed')} 2>&1 < /dev/null\necho 0 > {self._file('code')}\n"
        )
        if self._shell.stdin is not None and self._shell.poll() is None:
            self._shell.stdin.write(script)
            self._shell.stdin.flush()

    def look(self) -> Ended:
        """How far the commands have come that were typed last."""
        code, printed = Path(self._file("code")), Path(self._file("printed"))
        # The code first: once it is told, nothing more is printed.
        told = code.read_text() if code.exists() else ""
        text = printed.read_text(errors="replace") if printed.exists() else ""
        if told.endswith("\n"):
            return Ended(int(told), text)
        return Ended(self._shell.poll(), text)

    def run(self, text: str, *, seconds: float) -> Ended:
        """Types commands and waits for their end.

        Args:
            text: The commands.
            seconds: How long at most.
        """
        self.type(text)
        end = time.monotonic() + seconds
        while (ended := self.look()).code is None and time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)
        return ended

    def close(self) -> None:
        """Ends the shell and what was started in it, as closing a terminal does; gently at first."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._shell.pid, how)
            end = time.monotonic() + _STOP_SECONDS
            while _has_living(self._shell.pid) and time.monotonic() < end:
                time.sleep(_LOOK_SECONDS)
        self._shell.wait()
        if self._shell.stdin is not None:
            self._shell.stdin.close()

    def _file(self, what: str) -> str:
        return str(self._notes / f"{self._count:03}.{what}")


def _has_living(group: int) -> bool:
    # Not asked by a signal: in a container, nobody may bury the dead, which still belong to their group.
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # After the name, which may hold anything: state, parent, group.
            state, _, of = status.read_text().rpartition(")")[2].split()[:3]
            if int(of) == group and state != "Z":
                return True
    return False
