"""Cancels a request."""

from typing import Annotated

from cyclopts import Parameter

from bouncer.safe_text import without_addresses
from deployments.commands.caller import caller
from deployments.commands.contacts import request_number
from deployments.commands.output import print_json
from deployments.commands.parameters import AsJson, OneRequestOnly
from deployments.terminal.exit_codes import ExitCode

__all__ = ["cancel"]


def cancel(
    *,
    request: OneRequestOnly,
    reason: str = "by hand",
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    json: AsJson = False,
) -> int:
    """Cancels a request: nothing of it is sent any more, and what Bouncer has of it is finished early and loaded.

    Args:
        reason: The reason, for others to read; each contact fails with it.
        dry_run: Only report what would change.
    """
    from deployments.server.orchestration import orchestrator
    from deployments.settings import read_settings
    from deployments.terminal.console import tell

    settings = read_settings()
    number = request_number(request)
    with orchestrator(settings, modules=["deployments.running"]) as ui:
        from deployments.running import run_cancel

        report = run_cancel(
            settings,
            request_id=number,
            reason=without_addresses(reason),
            by=caller(),
            dry_run=dry_run,
            ui=ui,
            quiet=json,
        )
    if json:
        print_json(report)
    else:
        tell(report.message)
    return ExitCode.COULD_NOT_RUN if report.batches and not dry_run else 0
