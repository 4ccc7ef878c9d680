"""Commands that show and hand out what there is."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bouncer.storage.engine import read
from deployments.commands.answers import print_json
from deployments.commands.contacts import open_contacts
from deployments.commands.parameters import AsJson, FileOrDash, OneRequest, not_an_option
from deployments.settings import read_settings
from deployments.terminal.console import say

__all__ = ["export", "ledger", "status"]


def status(*, watch: Annotated[bool, Parameter(negative="")] = False, json: AsJson = False) -> int:
    """Shows how far everything has come, on one screen.

    Args:
        watch: Renew it every two seconds, until Ctrl-C; with --json, one object a line.
    """
    from deployments.terminal.status_screen import WATCH_SECONDS, StockTaker, print_status, watch_status

    settings = read_settings()
    stock = StockTaker(open_contacts(settings), settings)
    if json:
        print_json(stock.take())
        with suppress(KeyboardInterrupt):
            while watch:
                time.sleep(WATCH_SECONDS)
                print_json(stock.take())
    elif watch:
        watch_status(stock.take)
    else:
        print_status(stock.take)
    return 0


def export(file: FileOrDash, *, request: OneRequest = None) -> int:
    """Writes a CSV file with one line for each contact and its verdict; - for standard output."""
    from bouncer.files.exporting import export_results
    from deployments.terminal.display import row_progress

    engine = open_contacts(read_settings())
    with row_progress("exporting") as advance:
        report = export_results(engine, file, request_id=request, progress=advance)
    say(f"{report.rows:,} contacts written to {report.path or 'standard output'}")
    return 0


def ledger(
    file: Annotated[Path | None, Parameter(help="A CSV file, for one line a batch.", allow_leading_hyphen=True)] = None,
    *,
    month: Annotated[str | None, Parameter(help="Such as 2026-05, in UTC; all months if left out.")] = None,
    json: AsJson = False,
) -> int:
    """Shows what was paid for: credits by Bouncer's own count beside those that its verdicts suggest."""
    from bouncer.costs.ledger import Month, take_ledger
    from deployments.terminal.ledger_report import print_ledger, write_ledger

    of_month = None if month is None else Month.of(month)
    engine = open_contacts(read_settings())
    if file is not None:
        not_an_option(file)
        count = write_ledger(engine, file, of_month)
        say(f"{count:,} batches written to {'standard output' if str(file) == '-' else file}")
        return 0
    taken = read(engine, take_ledger, of_month)
    if json:
        print_json(taken)
    else:
        print_ledger(taken)
    return 0
