"""Sends doubtful contacts through the deep pass."""

from typing import Annotated

from cyclopts import Parameter, validators

from bouncer.verdicts.statuses import DoubtfulStatus
from deployments.commands.contacts import request_number
from deployments.commands.output import tell_summary
from deployments.commands.parameters import AsJson, OneRequest, Verbose

__all__ = ["verify_risky"]


def verify_risky(
    *,
    request: OneRequest = None,
    score_below: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=101))] = 70,
    status: list[DoubtfulStatus] | None = None,
    again: Annotated[bool, Parameter(negative="")] = False,
    json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Sends contacts whose verdict leaves doubt through the account that DEEP_BOUNCER_API_KEY opens.

    These are risky and unknown contacts at domains that accept all mail or with a low score. Exit codes are those of
    ingest.

    Args:
        score_below: Take contacts whose score is lower, of 0 to 100.
        status: Take only contacts with this verdict; may be given several times.
        again: Take also contacts that the deep pass has looked at already and that are still in doubt.
    """
    from deployments.first_contact import try_key_unless_away
    from deployments.server.orchestration import orchestrator
    from deployments.settings import read_settings

    settings = read_settings()
    number = request_number(request)
    # What is waiting may go on while Bouncer is away.
    try_key_unless_away(settings)
    with orchestrator(settings, modules=["deployments.running"], verbose=verbose) as ui:
        from deployments.running import Wanted, run_verify_risky

        wanted = Wanted(number, score_below, status, again)
        summary = run_verify_risky(settings, wanted, ui=ui, quiet=json, verbose=verbose)
    return tell_summary(summary, json=json)
