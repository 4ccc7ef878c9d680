"""What people see on the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
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

__all__ = ["byte_progress", "contact_progress", "print_table", "row_progress", "say"]

_console = Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """Tells a person something, on standard error."""
    _console.print(message, markup=False, soft_wrap=True)


@contextmanager
def contact_progress(total: int) -> Iterator[Callable[[int, int, int], None]]:
    """Shows how many contacts are settled.

    Args:
        total: Contacts to settle, as far as is known.

    Yields:
        A function of the settled contacts, all contacts, and those at Bouncer.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("contacts, {task.fields[assigned]:,} under way"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=_console) as progress:
        bar = progress.add_task("verifying", total=total, assigned=0)

        def show(settled: int, of: int, assigned: int) -> None:
            progress.update(bar, completed=settled, total=of, assigned=assigned)

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
    if quiet:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rows]:,} lines"),
        TimeRemainingColumn(),
    )
    size = file.stat().st_size if file.is_file() else None
    with Progress(*columns, console=_console, transient=True) as progress:
        bar = progress.add_task(what, total=size, rows=0)
        yield lambda rows, read: progress.update(bar, completed=read, rows=rows)


@contextmanager
def row_progress(what: str) -> Iterator[Callable[[int], None]]:
    """Counts rows as they are written.

    Yields:
        A function of the rows so far.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:,.0f} contacts"), TimeElapsedColumn())
    with Progress(*columns, console=_console, transient=True) as progress:
        bar = progress.add_task(what, total=None)
        yield lambda rows: progress.update(bar, completed=rows)


def print_table(title: str, rows: list[tuple[str, str]]) -> None:
    """Prints a table of names and figures on standard output."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    for name, figure in rows:
        table.add_row(name, figure)
    Console(highlight=False).print(table)
