"""Shows what was paid for."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bouncer.plurals import counted
from deployments.commands.contacts import open_contacts
from deployments.commands.output import print_json
from deployments.commands.parameters import AsJson, not_an_option
from deployments.terminal.console import say

__all__ = ["ledger"]


def ledger(
    file: Annotated[Path | None, Parameter(help="A CSV file, for one line a batch.", allow_leading_hyphen=True)] = None,
    *,
    month: Annotated[str | None, Parameter(help="Such as 2026-05, in UTC; all months if left out.")] = None,
    json: AsJson = False,
) -> int:
    """Shows what was paid for: credits by Bouncer's own count beside those that its verdicts suggest."""
    from bouncer.costs.ledger import Month, take_ledger
    from deployments.settings import read_settings
    from deployments.terminal.ledger_report import print_ledger, write_ledger

    of_month = None if month is None else Month.of(month)
    engine = open_contacts(read_settings())
    if file is not None:
        not_an_option(file)
        count = write_ledger(engine, file, of_month)
        say(f"{counted(count, 'batch', 'batches')} written to {'standard output' if str(file) == '-' else file}")
        return 0
    taken = take_ledger(engine, of_month)
    if json:
        print_json(taken)
    else:
        print_ledger(taken)
    return 0
