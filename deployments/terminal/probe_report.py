"""``bouncer-flows probe``: what is as expected, what differs, and what that means."""

import sys

from bouncer.probe.findings import Outcome
from bouncer.probe.run import ProbeReport
from bouncer.safe_text import visible
from deployments.terminal.json_text import json_text

__all__ = ["print_probe", "print_probe_as_json"]


def print_probe(report: ProbeReport) -> None:
    """Prints one line a behaviour, and a paragraph for each that differs."""
    for outcome in (Outcome.EXPECTED, Outcome.UNTRIED):
        for finding in report.findings:
            if finding.outcome is outcome:
                print(visible(f"{outcome}  {finding.behaviour.name}: {finding.seen}"))
    for finding in report.differences:
        row = finding.behaviour
        print(f"\nDIFFERS  {row.name}")
        print(f"  {row.mark}: {row.bouncer} ({row.source})")
        print(visible(f"  seen: {finding.seen}"))
        print(f"  for us: {row.if_not}")
    expected = sum(finding.outcome is Outcome.EXPECTED for finding in report.findings)
    untried = sum(finding.outcome is Outcome.UNTRIED for finding in report.findings)
    print(f"\n{expected} as expected, {len(report.differences)} different, {untried} not tried")
    if not report.is_whole:
        print("the batches were not completed in time, so the rest was not tried; probe again when the line is shorter")


def print_probe_as_json(report: ProbeReport) -> None:
    """Prints one JSON object."""
    told = {
        "differences": len(report.differences),
        "is_whole": report.is_whole,
        "findings": [
            {
                "behaviour": finding.behaviour.name,
                "outcome": finding.outcome,
                "seen": finding.seen,
                "mark": finding.behaviour.mark,
                "meaning": finding.behaviour.if_not if finding.outcome is Outcome.DIFFERS else None,
            }
            for finding in report.findings
        ],
    }
    print(json_text(told))
    sys.stdout.flush()
