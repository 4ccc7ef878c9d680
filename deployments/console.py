"""The terminal, which shows names and reasons as they are: to rich, ``[final]`` would be a style."""

import sys
from typing import NoReturn

from rich.console import Console

__all__ = ["console", "on_stderr", "say"]


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        # Rich would end the process here, with an exit code that means something else to us.
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """Opens standard output, or standard error, for texts that come from databases and files.

    Args:
        stderr: Standard error.

    Returns:
        A console without markup, emoji codes and highlighting.
    """
    return _Console(stderr=stderr, markup=False, emoji=False, highlight=False)


on_stderr = console(stderr=True)
"""One for all, because what is said while progress is shown must stand above the bars."""


def say(message: str) -> None:
    """Tells a person something, on standard error."""
    # Where both outputs go to one file, what was printed before stands before it.
    sys.stdout.flush()
    on_stderr.print(message, soft_wrap=True)
