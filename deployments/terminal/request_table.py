"""Requests as a table on the terminal."""

from collections.abc import Sequence

from rich.table import Table

from bouncer.costs.forecast_text import duration
from bouncer.requests.overview import RequestLine
from deployments.terminal.console import console

__all__ = ["print_requests"]

_LEFT = ("name", "owner", "verdicts", "result")
_HEADINGS = ("id", "name", "owner", "lines", "progress", "verdicts", "credits", "age", "result")


def print_requests(lines: Sequence[RequestLine]) -> None:
    """Prints requests, a row each; says so where there are none."""
    terminal = console()
    if not lines:
        terminal.print("no requests; bouncer-flows verify FILE makes one")
        return
    table = Table(title="Requests", title_justify="left")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading in _LEFT else "right", overflow="fold")
    for line in lines:
        verdicts = [f"{count:,} {verdict}" for verdict, count in line.verdicts.items()]
        table.add_row(
            str(line.request_id),
            line.name,
            line.owner,
            "" if line.lines is None else f"{line.lines:,}",
            "cancelled" if line.is_cancelled else f"{line.settled:,} of {line.contacts:,}",
            ", ".join([*verdicts, *([f"{line.failed:,} failed"] if line.failed else [])]),
            f"{line.credits:,}",
            "" if line.age_seconds is None else duration(line.age_seconds),
            line.result or "",
        )
    terminal.print(table)
