"""Prints the answers of commands on standard output: one JSON object, or text for a person."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from deployments.terminal.exit_codes import ExitCode
from deployments.terminal.json_text import json_text

if TYPE_CHECKING:
    from bouncer.costs.forecast import Forecast
    from bouncer.queue.ingest_summary import IngestSummary

__all__ = ["print_json", "tell_forecast", "tell_summary"]


def print_json(report: object) -> None:
    """Prints a report, which is a dataclass, as one JSON object on a line of its own."""
    print(json_text(asdict(report)))  # type: ignore[call-overload]  # every report is a dataclass
    sys.stdout.flush()


def tell_summary(summary: "IngestSummary", *, json: bool) -> int:
    """Prints what an ingest run did, and gives the exit code that says how it ended."""
    if json:
        print_json(summary)
    else:
        from deployments.terminal.reporting import print_summary

        print_summary(summary)
    if summary.outcome not in {"drained", "nothing to do"}:
        return ExitCode.COULD_NOT_RUN
    return ExitCode.SOME_FAILED if summary.failed else ExitCode.FINE


def tell_forecast(forecast: "Forecast", *, json: bool) -> int:
    """Prints what something would cost, and gives the exit code."""
    if json:
        print_json(forecast)
    else:
        from deployments.terminal.forecast_report import print_forecast

        print_forecast(forecast)
    return ExitCode.FINE
