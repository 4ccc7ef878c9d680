"""Verifies what waits in the queue."""

from typing import TYPE_CHECKING

from deployments.commands.contacts import open_contacts, request_number
from deployments.commands.output import tell_forecast, tell_summary
from deployments.commands.parameters import AsJson, Credits, DryRun, OneRequest, Verbose

if TYPE_CHECKING:
    from deployments.settings import Settings

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
    from bouncer.queue.ingest_summary import nothing_to_do
    from deployments.first_contact import try_key_unless_away
    from deployments.server.orchestration import orchestrator
    from deployments.settings import read_settings

    settings = read_settings()
    number = request_number(request)
    # What is waiting may go on while Bouncer is away.
    try_key_unless_away(settings)
    if not dry_run and _is_idle(settings, number):
        return tell_summary(nothing_to_do(), json=json)
    if dry_run:
        with orchestrator(settings, verbose=verbose):
            from deployments.terminal.forecast_report import forecast_ingest

            forecast = forecast_ingest(number, max_credits=max_credits, verbose=verbose)
        return tell_forecast(forecast, json=json)
    with orchestrator(settings, modules=["deployments.running"], verbose=verbose) as ui:
        from deployments.running import run_ingest

        summary = run_ingest(settings, request_id=number, max_credits=max_credits, ui=ui, quiet=json, verbose=verbose)
    return tell_summary(summary, json=json)


def _is_idle(settings: "Settings", request_id: int | None) -> bool:
    # Prefect and its server take seconds, and a run that finds nothing to do is worth nothing to anybody.
    from bouncer.queue.ingest_summary import is_idle
    from bouncer.requests.counting import require_request
    from bouncer.storage.engine import engine_for
    from deployments.known_database import missing_file
    from deployments.last_set_up import is_set_up

    if settings.database_url is None or missing_file(settings):
        return False
    if not is_set_up(settings, engine_for(settings.url)):
        return False
    engine = open_contacts(settings)
    if request_id is not None:
        require_request(engine, request_id)
    return is_idle(engine, request_id)
