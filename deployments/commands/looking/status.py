"""Shows how far everything has come."""

import time
from contextlib import suppress
from typing import Annotated

from cyclopts import Parameter

from deployments.commands.contacts import open_contacts
from deployments.commands.output import print_json
from deployments.commands.parameters import AsJson
from deployments.terminal.console import say

__all__ = ["status"]


def status(*, watch: Annotated[bool, Parameter(negative="")] = False, json: AsJson = False) -> int:
    """Shows how far everything has come, on one screen.

    Args:
        watch: Renew it every two seconds, until Ctrl-C; with --json, one object a line.
    """
    from deployments.known_database import is_another_database
    from deployments.settings import read_settings
    from deployments.terminal.status_screen import WATCH_SECONDS, StockTaker, print_status, watch_status

    settings = read_settings()
    engine = open_contacts(settings)
    if is_another_database(settings.bouncer_flows_home, engine):
        say("warning: the last command from here worked on another database; does DATABASE_URL name the right one?")
    stock = StockTaker(engine, settings)
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
