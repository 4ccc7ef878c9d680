"""Live display on the terminal."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from bouncer.plurals import counted
from deployments.terminal.console import console, on_stderr, say

__all__ = ["byte_progress", "contact_progress", "hide_expected_errors", "print_table", "row_progress", "stage_progress"]

_LINE_SECONDS = 5.0


def hide_expected_errors() -> None:
    """Keeps the terminal free of the tracebacks that Prefect prints of failed runs; the API still gets them.

    The command reports in one line how it ended.
    """
    from prefect.logging.configuration import setup_logging
    from prefect.logging.handlers import PrefectConsoleHandler

    # Prefect does so at its first run; done before, its handlers are there and stay.
    setup_logging()
    names = [name for name in logging.root.manager.loggerDict if name.startswith("prefect")]
    handlers = {handler for name in ["", *names] for handler in logging.getLogger(name).handlers}
    for handler in handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.addFilter(lambda record: record.levelno < logging.ERROR)


@contextmanager
def contact_progress(total: int, what: str) -> Iterator[Callable[[int, int, int], None]]:
    """Shows how many contacts are settled.

    Args:
        total: Contacts to settle, as far as is known.
        what: What is being done.

    Yields:
        A function of the settled contacts, all contacts, and those at Bouncer.
    """
    if not on_stderr.is_terminal:
        yield _line_by_line(what)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("contacts, {task.fields[assigned]:,} under way"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=on_stderr) as progress:
        bar = progress.add_task(what, total=total, assigned=0)

        def show(settled: int, of: int, assigned: int) -> None:
            progress.update(bar, completed=settled, total=of, assigned=assigned)

        yield show


def _line_by_line(what: str) -> Callable[[int, int, int], None]:
    # For log files and CI: a line now and then, where something has changed.
    last = (time.monotonic(), -1)

    def show(settled: int, of: int, assigned: int) -> None:
        nonlocal last
        now = time.monotonic()
        if of and settled != last[1] and (now - last[0] >= _LINE_SECONDS or settled == of):
            last = (now, settled)
            say(f"{what}: {settled:,} of {counted(of, 'contact')}, {assigned:,} under way")

    return show


@contextmanager
def stage_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Shows one bar for work of several stages.

    Yields:
        A function of the stage, how much of it is done, and of how much; 0 where that is not known.
    """
    if not on_stderr.is_terminal:
        last = ""

        def tell(what: str, _done: int, _of: int) -> None:
            nonlocal last
            if what != last:
                last = what
                say(what)

        yield tell
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=on_stderr, transient=True) as progress:
        bar = progress.add_task("reading", total=None)

        def show(what: str, done: int, of: int) -> None:
            share = f" {done / of:.0%}" if of else ""
            progress.update(bar, description=f"{what}{share}", completed=done, total=of or None)

        yield show


@contextmanager
def byte_progress(what: str, file: Path, *, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Shows how much of a file is read.

    Args:
        what: What is being done.
        file: The file; its size is the whole.
        quiet: Show nothing.

    Yields:
        A function of rows and bytes read, or None.
    """
    if quiet or not on_stderr.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("line {task.fields[rows]:,}"),
        TimeRemainingColumn(),
    )
    size = file.stat().st_size if file.is_file() else None
    with Progress(*columns, console=on_stderr, transient=True) as progress:
        bar = progress.add_task(what, total=size, rows=0)
        yield lambda rows, read: progress.update(bar, completed=read, rows=rows)


@contextmanager
def row_progress(what: str, unit: str = "contacts") -> Iterator[Callable[[int], None] | None]:
    """Counts rows as they are written.

    Args:
        what: What is being done.
        unit: What a row is.

    Yields:
        A function of the rows so far, or None where nobody watches.
    """
    if not on_stderr.is_terminal:
        yield None
        return
    columns = (SpinnerColumn(), TextColumn(f"{{task.description}} {{task.completed:,.0f}} {unit}"), TimeElapsedColumn())
    with Progress(*columns, console=on_stderr, transient=True) as progress:
        bar = progress.add_task(what, total=None)
        yield lambda rows: progress.update(bar, completed=rows)


def print_table(title: str, rows: list[tuple[str, str]]) -> None:
    """Prints a table of names and figures on standard output."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    for name, figure in rows:
        table.add_row(name, figure)
    console().print(table)
