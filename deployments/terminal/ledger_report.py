"""``bouncer-flows ledger``: what was paid for, on the terminal or as a CSV file."""

import sys
from pathlib import Path

from rich.table import Table
from sqlalchemy import Engine

from bouncer.costs.ledger import Cost, Ledger, Month, write_batches
from bouncer.errors import InputRefused
from bouncer.files.atomic_file import atomic_file
from bouncer.plurals import counted
from deployments.terminal.console import console

__all__ = ["print_ledger", "write_ledger"]

_MOST_REQUESTS = 50


def write_ledger(engine: Engine, path: Path, month: Month | None) -> int:
    """Writes one line a batch, whole or not at all; ``-`` is standard output.

    Raises:
        InputRefused: The file cannot be written.
    """
    if str(path) == "-":
        return write_batches(engine, sys.stdout, month)
    try:
        with atomic_file(path) as file:
            return write_batches(engine, file, month)
    except OSError as error:
        raise InputRefused(f"{path} cannot be written ({error.strerror}); choose another place") from None


def print_ledger(ledger: Ledger) -> None:
    """Prints what each request cost, the dearest first, and all together."""
    when = "all months" if ledger.month is None else ledger.month
    table = Table(title=f"Ledger, {when}", title_justify="left")
    table.add_column("request", overflow="fold")
    for heading in ("batches", "addresses", "expected", "charged", "difference"):
        table.add_column(heading, justify="right")
    for cost in ledger.requests[:_MOST_REQUESTS]:
        table.add_row(f"{cost.request_id} {cost.request or ''}".strip(), *_figures(cost))
    if len(ledger.requests) > _MOST_REQUESTS:
        rest = sum(ledger.requests[_MOST_REQUESTS:], Cost())
        table.add_row(f"{len(ledger.requests) - _MOST_REQUESTS:,} others", *_figures(rest))
    table.add_section()
    table.add_row("all", *_figures(ledger.total))
    terminal = console()
    terminal.print(table)
    if ledger.total.untold:
        untold = counted(ledger.total.untold, "expected credit")
        terminal.print(f"Bouncer reported nothing of {untold}, which no difference counts.")
    if ledger.total.maybe_paid_twice:
        addresses = counted(ledger.total.maybe_paid_twice, "address", "addresses")
        terminal.print(
            f"{addresses} may have been paid twice: uploads without an answer,"
            " batches that Bouncer lost, charges without a verdict."
        )


def _figures(cost: Cost) -> list[str]:
    counts = [f"{count:,}" for count in (cost.batches, cost.addresses, cost.expected, cost.charged)]
    return [*counts, f"{cost.difference:+,}"]
