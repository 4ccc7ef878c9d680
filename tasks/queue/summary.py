"""Summary of an ingest run, for people (an artifact), for programs, and for the exit code."""

import time
from dataclasses import dataclass, field

from prefect.artifacts import acreate_markdown_artifact

from blocks.access import Access
from bouncer.accounts.state import read_state
from bouncer.errors import BouncerFlowsError
from bouncer.installation import here
from bouncer.monitoring.charts import verdict_table
from bouncer.plurals import counted
from bouncer.queue.claiming import Claimed
from bouncer.queue.ingest_summary import IngestSummary
from bouncer.requests.counting import count_batches, count_verdicts, open_layers
from bouncer.requests.kept_counts import keep_counts
from bouncer.requests.work_of_others import Standing, stand, work_since
from bouncer.safe_text import in_markdown
from bouncer.storage.tables import Layer
from tasks.batches.subflows import Crews
from tasks.queue.work_left import WorkLeft
from tasks.running.stopping import is_stopping

__all__ = ["Tally", "summarise"]

_MOST_COUNTED = 20
"""Requests whose counts one run keeps; housekeeping keeps all others."""


@dataclass
class Tally:
    """Counts kept while ingest runs.

    Attributes:
        before: The contacts and batches as they stood at the beginning.
        open_layers: The layers with open contacts at the beginning.
        cannot_send: Accounts that could not be used, and why.
        capped: The caps on credits that keep contacts in the queue, in words.
        are_locked: Whether contacts were left in the queue because their rows are locked.
        reused: Contacts settled from a known verdict.
        batches: Batches that were worked on.
        worked_on: The numbers of the batches that this run settled, or tried to.
        outcome: How it ended.
        why: What else there is to say of that.
    """

    before: Standing
    open_layers: set[Layer]
    cannot_send: dict[str, BouncerFlowsError] = field(default_factory=dict)
    capped: set[str] = field(default_factory=set)
    are_locked: bool = False
    reused: int = 0
    batches: int = 0
    worked_on: set[int] = field(default_factory=set)
    outcome: str = ""
    why: str = ""
    began: float = field(default_factory=time.monotonic)

    @classmethod
    async def begin(cls, access: Access, request_id: int | None, layer: Layer | None) -> "Tally | None":
        """Counts the contacts, if any are open; None else.

        Args:
            access: The database.
            request_id: The request, or None for all.
            layer: The one layer that is worked on, or None for both.
        """
        if not (layers := await open_layers(access, request_id, layer)):
            return None
        return cls(await stand(access, request_id, layer), layers)

    @property
    def seconds(self) -> float:
        """Seconds that it has taken so far."""
        return round(time.monotonic() - self.began, 1)

    def pace(self, verified: int) -> int | None:
        """Returns the contacts that Bouncer verified in a minute, where all of its work fell into this run."""
        by_bouncer = verified - self.reused
        if by_bouncer <= 0 or not self.seconds or not self.before.is_before(self.worked_on):
            return None
        return round(by_bouncer / self.seconds * 60)

    def note(self, claimed: Claimed) -> None:
        """Counts what a claim settled by itself."""
        self.reused += claimed.reused
        self.capped.update(claimed.capped)

    def end(self, left: WorkLeft, crews: Crews) -> None:
        """Notes how it ended.

        Raises:
            BouncerFlowsError: The error that made going on pointless.
        """
        self.batches = crews.started
        self.worked_on = crews.worked_on
        self.cannot_send |= crews.refused
        if crews.fatal is not None:
            raise crews.fatal
        if is_stopping():
            self.outcome, self.why = "stopped", "stopped on request; run ingest again to go on"
        elif crews.gave_up_on:
            self.outcome = "unfinished"
            self.why = f"batches {crews.gave_up_on} failed again and again; run ingest again"
        else:
            self.outcome = "paused" if left.paused else "capped" if self.capped else "drained"
            reasons = {**{name: str(error) for name, error in self.cannot_send.items()}, **left.paused}
            of_accounts = [why if name == "default" else f"account {name}: {why}" for name, why in reasons.items()]
            locked = ["another program holds their rows locked; run ingest again"] if self.are_locked else []
            self.why = "; ".join([*of_accounts, *sorted(self.capped), *locked])


async def summarise(access: Access, request_id: int | None, tally: Tally) -> IngestSummary:
    """Counts what was done, and publishes it as an artifact of the run.

    Args:
        access: The account and the database.
        request_id: The request, or None for all.
        tally: What was counted on the way.
    """
    await access.compute(keep_counts, access.engine, _MOST_COUNTED)
    work = await work_since(access, tally.before, tally.worked_on, tally.reused)
    verified, failed, after = work.verified, work.failed, work.contacts
    batches = await count_batches(access, request_id)
    outcome = tally.outcome
    if outcome in {"drained", "paused", "capped"}:
        # Where one account is paused, others may have done it all.
        outcome = "drained" if not after.open else "unfinished" if outcome == "drained" else outcome
    left = counted(after.open, "still waits", "still wait")
    message = f"{outcome}: {counted(verified, 'contact')} verified, {failed:,} failed, {left}"
    summary = IngestSummary(
        outcome=outcome,
        contacts=verified + failed + after.open,
        verified=verified,
        failed=failed,
        left=after.open,
        reused=tally.reused,
        batches=tally.batches,
        seconds=tally.seconds,
        verdicts=await count_verdicts(access, request_id, tally.before.layer),
        credits_used=work.credits,
        possible_double_payments=batches.possible_double_payments,
        message=f"{message}; {tally.why}" if tally.why else message,
        contacts_a_minute=tally.pace(verified),
    )
    about = f"Ingest: {in_markdown(summary.message)}"
    text = _markdown(summary, (await read_state(access, access.name)).credits)
    await acreate_markdown_artifact(text, key=here().artifact("ingest-summary"), description=about)
    return summary


def _figures(summary: IngestSummary) -> dict[str, str]:
    pace = summary.contacts_a_minute
    return {
        "contacts": f"{summary.contacts:,}",
        "verified": f"{summary.verified:,}",
        "of these, verdict known already": f"{summary.reused:,}",
        "failed, with a reason": f"{summary.failed:,}",
        "still waiting": f"{summary.left:,}",
        "batches": f"{summary.batches:,}",
        "credits used": f"{summary.credits_used:,}",
        "seconds": f"{summary.seconds:,.1f}",
        **({} if pace is None else {"contacts verified a minute": f"{pace:,}"}),
    }


def _markdown(summary: IngestSummary, credits_left: int | None) -> str:
    figures = _figures(summary) | {
        "addresses that may have been paid twice, ever": f"{summary.possible_double_payments:,}",
        "credits left at the beginning": "not reported" if credits_left is None else f"{credits_left:,}",
    }
    in_all = summary.verified_in_all
    whose = [] if in_all is None else [f"{counted(in_all, 'contact')} verified so far, in all runs:", ""]
    return "\n".join(
        [
            f"## {in_markdown(summary.message)}",
            "",
            *whose,
            verdict_table(summary.verdicts),
            "",
            "| this run | |",
            "|---|---:|",
            *(f"| {what} | {figure} |" for what, figure in figures.items()),
        ]
    )
