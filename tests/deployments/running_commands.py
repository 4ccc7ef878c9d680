"""The command line as a user runs it: a process with an environment of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

__all__ = ["Ended", "Started", "clean_environment", "run"]

_PROJECT = Path(__file__).resolve().parents[2]
_OURS = ("PREFECT_", "BOUNCER_", "DATABASE_URL")


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        """The one JSON object on standard output."""
        answer: dict[str, Any] = orjson.loads(self.out)
        return answer

    @property
    def complaint(self) -> str:
        """The one line on standard error, where the command could not run."""
        assert self.code == 2, self.err
        assert self.out == ""
        # Which server that is, is told first.
        (line,) = [line for line in self.err.splitlines() if not line.startswith("the Prefect server is ")]
        assert line.startswith("bouncer-flows: ")
        return line.removeprefix("bouncer-flows: ")


def clean_environment(home: Path, **settings: str) -> dict[str, str]:
    """The environment of a user who has set nothing but these, with a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    # A wide terminal, so that no line is folded.
    return {**kept, "HOME": str(home), "BOUNCER_FLOWS_HOME": str(home / "flows"), "COLUMNS": "200", **settings}


def run(arguments: list[str], environment: Mapping[str, str], *, seconds: float = 120) -> Ended:
    """Runs a command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "deployments.command_line", *arguments],
        cwd=_PROJECT,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


class Started:
    """A command that runs, with this process's Prefect server unless the settings say otherwise.

    Args:
        arguments: The command line, without the program's name.
        folder: Where its output goes.
        environment: All of its environment; None for this process's own, with ``settings``.
        program: What Python runs, where it is not the command line.
        settings: What is set besides.
    """

    def __init__(
        self,
        arguments: list[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = ("-m", "deployments.command_line"),
        **settings: str,
    ) -> None:
        number = len(list(folder.glob("command-*.out")))
        self._out, self._err = folder / f"command-{number}.out", folder / f"command-{number}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, *program, *arguments],
                cwd=_PROJECT,
                env={**(os.environ if environment is None else environment), **settings},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        """Returns the command itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kills it if it still runs."""
        self.process.kill()
        self.process.wait()

    @property
    def code(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self.process.poll()

    @property
    def err(self) -> str:
        """What it wrote on standard error so far."""
        return self._err.read_text()

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self.process.send_signal(number)

    def stop(self, seconds: float) -> None:
        """Asks it to end as Ctrl-C does, and waits so long for its end."""
        if self.code is None:
            self.send(signal.SIGINT)
            self.wait(seconds)

    def wait(self, seconds: float) -> int:
        """Waits for its end and returns its exit code."""
        return self.process.wait(seconds)

    def ended(self, seconds: float = 120) -> Ended:
        """Waits for its end."""
        return Ended(self.wait(seconds), self._out.read_text(), self._err.read_text())
