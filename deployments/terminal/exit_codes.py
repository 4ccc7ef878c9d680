"""Exit codes of the commands."""

import enum

__all__ = ["MEANINGS", "ExitCode"]


class ExitCode(enum.IntEnum):
    """Result of a command, for the program that started it."""

    FINE = 0
    SOME_FAILED = 1
    COULD_NOT_RUN = 2
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.FINE: "all is well; for `ingest` and `demo`: every contact has a verdict",
    ExitCode.SOME_FAILED: (
        "`ingest`, `demo`: some contacts failed, each with a reason. `setup --check`: something is off. "
        "`probe`: something differs"
    ),
    ExitCode.COULD_NOT_RUN: "it could not run, or not to the end",
    ExitCode.INTERRUPTED: "interrupted",
}
"""Meaning of each, for docs/reference/commands.md."""
