"""Verifies what waits in the queue."""

from deployments.commands.contacts import request_number
from deployments.commands.output import tell_forecast, tell_summary
from deployments.commands.parameters import AsJson, Credits, DryRun, OneRequest, Verbose

__all__ = ["ingest"]


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
    from deployments.first_contact import try_key_unless_away
    from deployments.server.orchestration import orchestrator
    from deployments.settings import read_settings

    settings = read_settings()
    number = request_number(request)
    # What is waiting may go on while Bouncer is away.
    try_key_unless_away(settings)
    if dry_run:
        with orchestrator(settings, verbose=verbose):
            from deployments.terminal.forecast_report import forecast_ingest

            forecast = forecast_ingest(number, max_credits=max_credits, verbose=verbose)
        return tell_forecast(forecast, json=json)
    with orchestrator(settings, modules=["deployments.running"], verbose=verbose) as ui:
        from deployments.running import run_ingest

        summary = run_ingest(settings, request_id=number, max_credits=max_credits, ui=ui, quiet=json, verbose=verbose)
    return tell_summary(summary, json=json)
