"""What ``bouncer-flows status`` tells, and how summaries are printed."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from bouncer.accounts import AccountState, read_state
from bouncer.counting import BatchCounts, Progress, count_batches, count_contacts, count_dead_letters, count_verdicts
from bouncer.gate import requests_in_window
from deployments.display import print_table

if TYPE_CHECKING:
    # For its type alone: it would bring Prefect along, whose import takes seconds that status has no use for.
    from tasks.summarise import IngestSummary

__all__ = ["StatusReport", "print_status", "print_summary", "take_stock"]


@dataclass(frozen=True)
class StatusReport:
    """How far everything has come.

    Attributes:
        contacts: Contacts by where they stand.
        batches: Batches by step, and what went oddly with them.
        verdicts: Contacts by verdict.
        dead_letters: Dead letters that nobody has reviewed.
        account: Pause, breaker and credits.
        requests_this_minute: Requests sent to Bouncer in the present minute.
    """

    contacts: Progress
    batches: BatchCounts
    verdicts: dict[str, int]
    dead_letters: int
    account: AccountState
    requests_this_minute: int


def take_stock(connection: Connection) -> StatusReport:
    """Counts everything, from the rows themselves."""
    return StatusReport(
        contacts=count_contacts(connection),
        batches=count_batches(connection),
        verdicts=count_verdicts(connection),
        dead_letters=count_dead_letters(connection),
        account=read_state(connection, "default"),
        requests_this_minute=requests_in_window(connection, "default"),
    )


def print_status(report: StatusReport) -> None:
    """Prints the report on one screen."""
    contacts, batches, account = report.contacts, report.batches, report.account
    paused = "no" if account.paused_ts is None else f"by {account.paused_by}: {account.paused_reason}"
    print_table(
        "Contacts",
        [
            ("waiting in the queue", f"{contacts.queued:,}"),
            ("in batches under way", f"{contacts.assigned:,}"),
            ("with a verdict", f"{contacts.completed:,}"),
            ("failed, with a reason", f"{contacts.failed:,}"),
            *((f"· {verdict}", f"{count:,}") for verdict, count in report.verdicts.items()),
        ],
    )
    print_table(
        "Batches",
        [
            *((status, f"{count:,}") for status, count in batches.by_status.items()),
            ("held for a person", f"{batches.held:,}"),
            ("dead letters to review", f"{report.dead_letters:,}"),
            ("addresses perhaps paid twice", f"{batches.possible_double_payments:,}"),
        ],
    )
    print_table(
        "Account",
        [
            ("paused", paused),
            ("circuit breaker", account.breaker_state),
            ("requests this minute", f"{report.requests_this_minute:,}"),
            (
                "credits",
                "not asked yet" if account.credits is None else f"{account.credits:,} {_at(account.credits_ts)}",
            ),
        ],
    )


def print_summary(summary: "IngestSummary") -> None:
    """Prints what an ingest run did."""
    print(summary.message)
    if summary.outcome == "nothing to do":
        return
    minute = summary.verified / summary.seconds * 60 if summary.seconds else 0
    print_table(
        "Ingest",
        [
            ("contacts verified", f"{summary.verified:,}"),
            *((f"· {verdict}", f"{count:,}") for verdict, count in summary.verdicts.items()),
            ("contacts failed", f"{summary.failed:,}"),
            ("contacts still waiting", f"{summary.left:,}"),
            ("known already, at no cost", f"{summary.reused:,}"),
            ("batches", f"{summary.batches:,}"),
            ("seconds", f"{summary.seconds:,.1f}"),
            ("contacts a minute", f"{minute:,.0f}"),
        ],
    )


def _at(moment: datetime | None) -> str:
    return "" if moment is None else f"(at {moment:%H:%M} UTC)"
