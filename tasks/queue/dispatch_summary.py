"""Summary of a run of ``dispatch``, for people (an artifact) and for programs."""

from collections.abc import Mapping
from dataclasses import dataclass

from prefect.artifacts import acreate_markdown_artifact

from blocks.access import Access
from bouncer.errors import BouncerFlowsError
from bouncer.installation import here
from bouncer.plurals import counted
from bouncer.queue.claiming import Claimed
from bouncer.requests.counting import count_batches
from bouncer.requests.progress import last_counted_open
from bouncer.safe_text import in_markdown

__all__ = ["DispatchSummary", "nothing_to_dispatch", "summarise_dispatch"]


@dataclass(frozen=True)
class DispatchSummary:
    """Summary of one run of dispatch.

    Attributes:
        outcome: ``dispatched`` or ``nothing to do``.
        contacts: Contacts taken from the queue.
        reused: Contacts of them settled from a known verdict at no cost.
        invalid: Contacts of them failed because their address cannot be mailed to at all.
        batches: Batches that were started on workers.
        open: Contacts that are open, as their requests counted last.
        possible_double_payments: Addresses that may have been charged twice since installation.
        message: One line for people.
    """

    outcome: str
    contacts: int
    reused: int
    invalid: int
    batches: int
    open: int
    possible_double_payments: int
    message: str


def nothing_to_dispatch() -> DispatchSummary:
    """The summary of a run that found nothing to do."""
    return DispatchSummary("nothing to do", 0, 0, 0, 0, 0, 0, "nothing to do: no contacts wait in the queue")


async def summarise_dispatch(
    access: Access,
    request_id: int | None,
    small: Claimed,
    batches: Claimed,
    cannot_send: Mapping[str, BouncerFlowsError],
) -> DispatchSummary:
    """Publishes what was started as an artifact of the run.

    Nothing is counted, since it is run every minute while contacts wait; what comes of the batches is reported by
    their requests, once these are complete.

    Args:
        access: An account and the database.
        request_id: The request, or None for all.
        small: What was claimed and verified in real time.
        batches: What was claimed for workers.
        cannot_send: The accounts that were set aside, and why.
    """
    claimed = small + batches
    waiting = await last_counted_open(access, request_id)
    doubtful = (await count_batches(access, request_id)).possible_double_payments
    claims = f"{counted(claimed.contacts, 'contact')} claimed for workers"
    why = "; ".join([claims, *(str(error) for error in cannot_send.values()), *sorted(claimed.capped)])
    summary = DispatchSummary(
        outcome="dispatched",
        contacts=claimed.contacts,
        reused=claimed.reused,
        invalid=claimed.invalid,
        batches=len(batches.batches),
        open=waiting,
        possible_double_payments=doubtful,
        message=f"dispatched: {why}, some {waiting:,} open",
    )
    text = f"## {in_markdown(summary.message)}\n\n| this run | |\n|---|---:|\n" + "\n".join(
        f"| {what} | {figure:,} |"
        for what, figure in {
            "contacts claimed": summary.contacts,
            "of these, verdict known already": summary.reused,
            "of these, no address that can be mailed to": summary.invalid,
            "batches started": summary.batches,
            "open contacts, as counted last": summary.open,
            "addresses that may have been paid twice, ever": summary.possible_double_payments,
        }.items()
    )
    about = f"Dispatch: {in_markdown(summary.message)}"
    await acreate_markdown_artifact(text, key=here().artifact("dispatch-summary"), description=about)
    return summary
