"""Asks an account whether it behaves as the table of what Bouncer does says."""

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from deployments.commands.parameters import AsJson
from deployments.terminal.console import say
from deployments.terminal.exit_codes import ExitCode

__all__ = ["probe"]


def probe(
    *,
    account: str = "default",
    transcript: Path = Path("bouncer-probe.jsonl"),
    callback_url: str | None = None,
    callback_port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65_535))] = 0,
    json: AsJson = False,
) -> int:
    """Asks a real account in two minutes and at no cost whether it behaves as docs/reference/bouncer.md says.

    Sends two batches of Bouncer's free addresses and provokes each refusal that does no harm. Needs an account that
    nothing is in flight at. Exit code 1: something differs.

    Args:
        account: The account whose key is used.
        transcript: The file for what was asked and answered, without keys and addresses; send it in with a report.
        callback_url: Where Bouncer can reach this machine's --callback-port, to try a callback.
        callback_port: The port to listen on for it; 0 takes a free one.
    """
    from deployments.server.orchestration import orchestrator
    from deployments.settings import read_settings

    settings = read_settings()
    with orchestrator(settings):
        from deployments.probing import Callback, probe_account
        from deployments.terminal.probe_report import print_probe, print_probe_as_json

        say("asking Bouncer; this takes up to two minutes")
        callback = None if callback_url is None else Callback(callback_url, callback_port)
        report, written = asyncio.run(probe_account(settings, account, callback))
    written.write(transcript)
    if json:
        print_probe_as_json(report)
    else:
        print_probe(report)
        say(f"the transcript is in {transcript}")
    if report.differences:
        return ExitCode.SOME_FAILED
    return ExitCode.FINE if report.is_whole else ExitCode.COULD_NOT_RUN
