"""Commands that put contacts into the queue and verify them."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from deployments.commands.answers import print_json, tell_forecast, tell_summary
from deployments.commands.contacts import open_contacts
from deployments.commands.parameters import AsJson, Credits, DryRun, File, OneRequest, Verbose
from deployments.server.orchestration import orchestrator
from deployments.settings import read_settings
from deployments.terminal.console import say

__all__ = ["demo", "import_", "ingest", "verify_risky"]

_MOST_IN_A_SAMPLE = 10_000_000


def import_(
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
    if dry_run:
        settings = read_settings()
        with orchestrator(settings):
            from deployments.terminal.forecast_report import forecast_import

            forecast = forecast_import(settings, file, request=request, user=user, column=column, quiet=json)
        return tell_forecast(forecast, json=json)
    from bouncer.files.importing import import_contacts
    from bouncer.storage.tables import Priority
    from deployments.terminal.display import byte_progress

    engine = open_contacts(read_settings())
    with byte_progress("importing", file, quiet=json) as advance:
        report = import_contacts(
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


def ingest(
    *,
    request: OneRequest = None,
    max_credits: Credits = None,
    dry_run: DryRun = False,
    json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Verifies what waits in the queue, in this process, until nothing waits any more.

    Exit code 0: every contact has a verdict. 1: some failed, with a reason. 2: it could not run to the end.
    """
    settings = read_settings()
    if dry_run:
        with orchestrator(settings, verbose=verbose):
            from deployments.terminal.forecast_report import forecast_ingest

            forecast = forecast_ingest(request, max_credits=max_credits, verbose=verbose)
        return tell_forecast(forecast, json=json)
    with orchestrator(settings, verbose=verbose) as ui:
        from deployments.running import run_ingest

        summary = run_ingest(settings, request_id=request, max_credits=max_credits, ui=ui, quiet=json, verbose=verbose)
    return tell_summary(summary, json=json)


def verify_risky(
    *,
    request: OneRequest = None,
    score_below: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=101))] = 70,
    status: list[Literal["deliverable", "risky", "undeliverable", "unknown"]] | None = None,
    again: Annotated[bool, Parameter(negative="")] = False,
    json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Sends contacts whose verdict leaves doubt through the account that DEEP_BOUNCER_API_KEY opens.

    These are contacts at domains that accept all mail, and those with a low score. Exit codes are those of ingest.

    Args:
        score_below: Take contacts whose score is lower, of 0 to 100.
        status: Take only contacts with this verdict; may be given several times.
        again: Take also contacts that the deep pass has looked at already and that are still risky.
    """
    settings = read_settings()
    with orchestrator(settings, verbose=verbose) as ui:
        from deployments.running import Wanted, run_verify_risky

        wanted = Wanted(request, score_below, status, again)
        summary = run_verify_risky(settings, wanted, ui=ui, quiet=json, verbose=verbose)
    return tell_summary(summary, json=json)


def demo(
    *,
    contacts: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=_MOST_IN_A_SAMPLE))] = 50_000,
    folder: Path = Path(".demo"),
) -> int:
    """Verifies a realistic sample from beginning to end, on embedded defaults or on what the environment names.

    Args:
        contacts: How many contacts the sample has.
        folder: Where the sample, the results and the embedded servers' files go.
    """
    from deployments.demo import run_demo

    return run_demo(contacts, folder)
