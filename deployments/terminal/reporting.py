"""Prints summaries."""

from typing import TYPE_CHECKING

from deployments.terminal.console import tell
from deployments.terminal.display import print_table

if TYPE_CHECKING:
    from bouncer.queue.ingest_summary import IngestSummary

__all__ = ["print_summary"]


def print_summary(summary: "IngestSummary") -> None:
    """Prints what an ingest run did."""
    tell(summary.message)
    if summary.outcome == "nothing to do":
        return
    verdicts = [(f"· {verdict}", f"{count:,}") for verdict, count in summary.verdicts.items()]
    # Where verdicts of other runs are among them, they stand below what this run did.
    in_all = summary.verified_in_all
    so_far = [] if in_all is None else [("verified so far, in all runs", f"{in_all:,}"), *verdicts]
    pace = summary.contacts_a_minute
    print_table(
        "Ingest",
        [
            ("contacts verified", f"{summary.verified:,}"),
            *([] if so_far else verdicts),
            ("contacts failed", f"{summary.failed:,}"),
            ("contacts still waiting", f"{summary.left:,}"),
            ("known already, at no cost", f"{summary.reused:,}"),
            ("batches", f"{summary.batches:,}"),
            ("seconds", f"{summary.seconds:,.1f}"),
            *([] if pace is None else [("contacts a minute", f"{pace:,}")]),
            *so_far,
        ],
    )
