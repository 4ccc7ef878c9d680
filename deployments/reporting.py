"""How summaries are printed."""

from typing import TYPE_CHECKING

from deployments.display import print_table

if TYPE_CHECKING:
    # For its type alone: it would bring Prefect along, whose import takes seconds that status has no use for.
    from tasks.summarise import IngestSummary

__all__ = ["print_summary"]


def print_summary(summary: "IngestSummary") -> None:
    """Prints what an ingest run did."""
    print(summary.message)
    if summary.outcome == "nothing to do":
        return
    verdicts = [(f"· {verdict}", f"{count:,}") for verdict, count in summary.verdicts.items()]
    settled = sum(summary.verdicts.values())
    # Where verdicts of earlier runs are among them, they stand below what this run did.
    of_this_run, so_far = (verdicts, []) if settled == summary.verified else ([], verdicts)
    minute = summary.verified / summary.seconds * 60 if summary.seconds else 0
    print_table(
        "Ingest",
        [
            ("contacts verified", f"{summary.verified:,}"),
            *of_this_run,
            ("contacts failed", f"{summary.failed:,}"),
            ("contacts still waiting", f"{summary.left:,}"),
            ("known already, at no cost", f"{summary.reused:,}"),
            ("batches", f"{summary.batches:,}"),
            ("seconds", f"{summary.seconds:,.1f}"),
            ("contacts a minute", f"{minute:,.0f}"),
            *([("verified so far, in all runs", f"{settled:,}"), *so_far] if so_far else []),
        ],
    )
