"""Puts the contacts of a CSV file into the queue."""

from typing import Annotated, Literal

from cyclopts import Parameter

from deployments.commands.answers import print_json, tell_forecast
from deployments.commands.contacts import open_contacts
from deployments.commands.parameters import AsJson, Credits, DryRun, File
from deployments.terminal.console import say

__all__ = ["import_contacts"]


def import_contacts(
    file: File,
    *,
    request: Annotated[str | None, Parameter(help="The request's name; the file's name if left out.")] = None,
    user: Annotated[str | None, Parameter(help="The e-mail address of the user who asks.")] = None,
    priority: Literal["low", "normal", "high", "critical"] = "normal",
    column: Annotated[str | None, Parameter(help="The column with the addresses, if its name is odd.")] = None,
    max_credits: Credits = None,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> int:
    """Puts the contacts of a CSV file into the queue. Importing the same file again adds nothing.

    Args:
        priority: How urgent they are; higher goes first.
    """
    from deployments.server.orchestration import orchestrator
    from deployments.settings import read_settings

    if dry_run:
        settings = read_settings()
        with orchestrator(settings):
            from deployments.terminal.forecast_report import forecast_import

            forecast = forecast_import(settings, file, request=request, user=user, column=column, quiet=json)
        return tell_forecast(forecast, json=json)
    from bouncer.files import importing
    from bouncer.storage.tables import Priority
    from deployments.terminal.display import byte_progress

    engine = open_contacts(read_settings())
    with byte_progress("importing", file, quiet=json) as advance:
        report = importing.import_contacts(
            engine,
            file,
            request_name=request,
            user_email=user,
            priority=Priority[priority.upper()],
            column=column,
            max_credits=max_credits,
            progress=advance,
        )
    if json:
        print_json(report)
        return 0
    print(
        f"request {report.request_id} ({report.request_name}): {report.queued:,} contacts queued, "
        f"{report.duplicates:,} duplicates, {report.rejected:,} lines rejected"
    )
    for note in report.notes:
        say(note)
    if report.rejected_file is not None:
        say(f"the rejected lines and their reasons are in {report.rejected_file}")
    return 0
