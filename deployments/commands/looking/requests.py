"""Lists requests by name, with their progress, verdicts, cost and result."""

import sys
from typing import Annotated

from cyclopts import Parameter

from deployments.commands.contacts import open_contacts
from deployments.commands.parameters import AsJson

__all__ = ["requests"]


def requests(
    *,
    all_of_them: Annotated[
        bool, Parameter(name="--all", negative="", help="Also those that were finished more than a week ago.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Lists the requests, the latest first: name, owner, lines, progress, verdicts, credits, result, age."""
    from dataclasses import asdict

    from bouncer.requests.overview import list_requests
    from deployments.settings import read_settings
    from deployments.terminal.json_text import json_text
    from deployments.terminal.request_table import print_requests

    lines = list_requests(open_contacts(read_settings()), all_of_them=all_of_them)
    if json:
        content = {"requests": [asdict(line) for line in lines]}
        print(json_text(content))
        sys.stdout.flush()
    else:
        print_requests(lines)
    return 0
