"""Verifies a list from beginning to end."""

from collections.abc import Mapping
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from bouncer.errors import InputRefused, SpendingRefused
from bouncer.safe_text import holds_address
from bouncer.safe_urls import without_secrets
from deployments.commands.output import print_json, tell_forecast
from deployments.commands.parameters import (
    LARGEST_COUNT,
    AddressesOnly,
    AsJson,
    Credits,
    DryRun,
    Excel,
    Force,
    ListPlace,
    Only,
    Result,
    Verbose,
    Where,
)
from deployments.commands.verifying.finished_names import may_join
from deployments.terminal.console import agreed, say
from deployments.terminal.exit_codes import ExitCode

__all__ = ["verify"]


def verify(
    file: ListPlace,
    result: Result = None,
    *,
    request: Annotated[str | None, Parameter(help="The name of the list; the file's name if left out.")] = None,
    user: Annotated[str | None, Parameter(help="The e-mail address of the user who asks.")] = None,
    priority: Literal["low", "normal", "high", "critical"] = "normal",
    column: Annotated[
        str | None,
        Parameter(help="Header or number of the address column; detected if left out."),
    ] = None,
    split: Annotated[bool, Parameter(negative="", help="Take each address of a cell that holds several.")] = False,
    only: Only = None,
    where: Where = None,
    addresses_only: AddressesOnly = False,
    excel: Excel = False,
    max_credits: Credits = None,
    ask_above: Annotated[
        int,
        Parameter(
            help="Ask before more credits than these may be spent.",
            validator=validators.Number(gte=0, lte=LARGEST_COUNT),
        ),
    ] = 1_000,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask.")] = False,
    add: Annotated[bool, Parameter(negative="", help="Add the list to a complete request of the same name.")] = False,
    force: Force = False,
    dry_run: DryRun = False,
    json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Verifies a list: it comes back with its own columns, and a verdict and advice behind them.

    The same command goes on where it was stopped, and pays nothing twice.

    Args:
        priority: The priority; higher goes first.
    """
    from bouncer.files.lists.sources import is_url, opened_list
    from deployments.first_contact import try_key
    from deployments.server.orchestration import orchestrator
    from deployments.settings import read_settings

    settings = read_settings()
    place = str(file)
    if not dry_run:
        shown = without_secrets(place) if is_url(place) else place
        kept = {"FILE": shown, "RESULT": result, "--request": request, "--column": column}
        _refuse_addresses({**kept, "--where": where})
        try_key(settings)
    with opened_list(place) as source, orchestrator(settings, modules=["deployments.running"], verbose=verbose) as ui:
        from bouncer.costs.forecast_text import headline
        from deployments.running import run_verify_list
        from deployments.terminal.forecast_report import existing_database, forecast_import

        forecast = forecast_import(settings, place, request=request, user=user, column=column, split=split, quiet=json)
        if dry_run:
            return tell_forecast(forecast, json=json)
        add = may_join(existing_database(settings), place, request, user, yes=add or yes)
        most = forecast.most_credits if not max_credits else min(forecast.most_credits, max_credits)
        if most > ask_above:
            cost = f"{headline(forecast)}, at most {most:,}"
            if not agreed([cost, "Go on?"], yes=yes):
                raise SpendingRefused(
                    f"{cost}; nothing was queued: add --yes to agree, or --max-credits N to spend no more than N"
                )
        report = run_verify_list(
            settings,
            {
                # What is secret in a URL would be kept with the run. The list is open here by the rest of it too.
                "file": source.given if is_url(place) else place,
                "result": None if result is None else str(result),
                "name": request,
                "owner": user,
                "priority": priority,
                "spend_at_most": None,
                "only": only or "all",
                "where": where,
                "addresses_only": addresses_only,
                "excel": excel,
                "column": column,
                "split": split,
                "add": add,
                "overwrite": force,
                "max_credits": max_credits,
            },
            ui=ui,
            quiet=json,
            verbose=verbose,
        )
    if json and report.result != "-":
        print_json(report)
    else:
        for line in (*report.remarks, report.message):
            say(line)
    return ExitCode.FINE


def _refuse_addresses(given: Mapping[str, object]) -> None:
    # A run's parameters are stored at the Prefect server and shown there. The user goes by number.
    for what, text in given.items():
        if text is not None and holds_address(str(text)):
            instead = "give a relative path without one, or -" if what in {"FILE", "RESULT"} else "leave it out"
            raise InputRefused(f"{what} holds an e-mail address, which Prefect would keep with the run; {instead}")
