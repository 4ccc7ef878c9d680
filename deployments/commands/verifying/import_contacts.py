"""Puts the contacts of a list into the queue."""

from typing import Annotated, Literal

from cyclopts import Parameter

from deployments.commands.contacts import open_contacts
from deployments.commands.output import print_json, tell_forecast
from deployments.commands.parameters import AsJson, Credits, DryRun, ListPlace
from deployments.commands.verifying.finished_names import may_join
from deployments.terminal.console import say, tell

__all__ = ["import_contacts"]


def import_contacts(
    file: ListPlace,
    *,
    request: Annotated[str | None, Parameter(help="The request's name; the file's name if left out.")] = None,
    user: Annotated[str | None, Parameter(help="The e-mail address of the user who asks.")] = None,
    priority: Literal["low", "normal", "high", "critical"] = "normal",
    column: Annotated[
        str | None,
        Parameter(help="Header or number of the address column; detected if left out."),
    ] = None,
    split: Annotated[bool, Parameter(negative="", help="Take each address of a cell that holds several.")] = False,
    add: Annotated[bool, Parameter(negative="", help="Add the list to a complete request of the same name.")] = False,
    max_credits: Credits = None,
    dry_run: DryRun = False,
    json: AsJson = False,
) -> int:
    """Puts the contacts of a list into the queue. Importing the same file again adds nothing.

    Args:
        priority: The priority; higher goes first.
    """
    from bouncer.files import importing
    from bouncer.files.import_text import outcome, remarks
    from bouncer.files.lists.sources import opened_list, refuse_missing
    from bouncer.storage.tables import Priority
    from deployments.settings import read_settings
    from deployments.terminal.display import byte_progress

    settings = read_settings()
    place = str(file)
    # First: no database is made and no server started for a list that is not there. What is piped or elsewhere is read
    # once the database is known to be of use.
    refuse_missing(place)
    if dry_run:
        from deployments.server.orchestration import orchestrator

        with opened_list(place), orchestrator(settings):
            from deployments.terminal.forecast_report import forecast_import

            forecast = forecast_import(
                settings, place, request=request, user=user, column=column, split=split, quiet=json
            )
        return tell_forecast(forecast, json=json)
    engine = open_contacts(settings, new=True)
    with opened_list(place) as source:
        add = may_join(engine, place, request, user, yes=add)
        with byte_progress("importing", source.path, quiet=json) as advance:
            report = importing.import_contacts(
                engine,
                place,
                request_name=request,
                user=user,
                priority=Priority[priority.upper()],
                column=column,
                split=split,
                add=add,
                max_credits=max_credits,
                progress=advance,
            )
    if json:
        print_json(report)
        return 0
    tell(outcome(report))
    for line in remarks(report):
        say(line)
    return 0
