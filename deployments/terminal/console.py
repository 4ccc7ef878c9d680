"""The terminal, which shows names and reasons as they are: to rich, ``[final]`` would be a style."""

import io
import os
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from bouncer.safe_text import VISIBLE, visible

__all__ = ["agreed", "console", "on_stderr", "ready_outputs", "say", "tell"]


_BUT_LINE_ENDS = {number: shown for number, shown in VISIBLE.items() if number != ord("\n")}


class _Console(Console):
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        # All that is shown comes by here, in whatever table or bar it stands; colours are no text.
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=segment.text.translate(_BUT_LINE_ENDS))

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
    on_stderr.print(visible(message), soft_wrap=True)


def tell(message: str) -> None:
    """Prints a line on standard output, for a person."""
    print(visible(message))


def agreed(lines: Sequence[str], *, yes: bool) -> bool:
    """Asks a person before something is done.

    Args:
        lines: What to tell, the last of which is the question.
        yes: The answer that was given beforehand; then it is only told what is done.

    Returns:
        Whether the answer is yes; it is no where nobody is there to ask.
    """
    if not yes and not sys.stdin.isatty():
        return False
    for line in lines[:-1]:
        say(line)
    if yes:
        return True
    say(f"{lines[-1]} [y/N]")
    # Of the end of the input, as Ctrl-D makes it, this is an empty line.
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def ready_outputs() -> None:
    """Makes standard output and error fit to be written to, however the process was started; call this first.

    One that was closed, as by ``>&-``, swallows what is written: else the next file that is opened would take its
    place. Characters that its encoding does not have are shown by their numbers.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The system gives the lowest number that is free, which is this one.
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # a number, for good
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # a number, for good
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
