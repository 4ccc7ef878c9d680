"""Summary of an ingest run, and whether a run would find anything to do at all."""

from dataclasses import dataclass

from sqlalchemy import Connection, exists, select

from bouncer.requests.counting import open_layers
from bouncer.requests.progress import under_way
from bouncer.storage.dialects import database_now
from bouncer.storage.tables import SecondChance
from bouncer.storage.transactions import reading

__all__ = ["IngestSummary", "is_idle", "nothing_to_do"]


@dataclass(frozen=True)
class IngestSummary:
    """Summary of one ingest run.

    Attributes:
        outcome: ``nothing to do``, ``drained``, ``paused``, ``capped``, ``stopped`` or ``unfinished``.
        contacts: Contacts that were open when it began, or were queued while it ran.
        verified: Contacts of them that got a verdict.
        failed: Contacts of them that failed with a reason.
        left: Contacts that still wait.
        reused: Contacts settled from a known verdict at no cost.
        batches: Batches that were worked on.
        seconds: How long it took.
        verdicts: Contacts by verdict, of the request or of all, also those that earlier runs verified.
        credits_used: What the batches that were verified meanwhile cost.
        possible_double_payments: Addresses that may have been charged twice since installation.
        message: One line for people.
        contacts_a_minute: Contacts that Bouncer verified in a minute of the run; None where earlier runs had sent some,
            or nothing was sent.
    """

    outcome: str
    contacts: int
    verified: int
    failed: int
    left: int
    reused: int
    batches: int
    seconds: float
    verdicts: dict[str, int]
    credits_used: int
    possible_double_payments: int
    message: str
    contacts_a_minute: int | None = None

    @property
    def verified_in_all(self) -> int | None:
        """Contacts that the verdicts are of, where other runs verified some; None where all are this run's own."""
        settled = sum(self.verdicts.values())
        return settled if settled not in {0, self.verified} else None


def nothing_to_do(why: str = "no contacts wait in the queue") -> IngestSummary:
    """The summary of a run that found nothing to do."""
    return IngestSummary(
        outcome="nothing to do",
        contacts=0,
        verified=0,
        failed=0,
        left=0,
        reused=0,
        batches=0,
        seconds=0.0,
        verdicts={},
        credits_used=0,
        possible_double_payments=0,
        message=f"nothing to do: {why}",
    )


@reading
def is_idle(connection: Connection, request_id: int | None) -> bool:
    """Tells whether an ingest would change nothing: no contact is open, no second chance due, no completion untold.

    Args:
        connection: Of the contacts database.
        request_id: The one request whose contacts it would verify, or None for all.
    """
    due = exists().where(SecondChance.try_again_ts <= database_now(connection))
    return not (open_layers(connection, request_id) or connection.scalar(select(due)) or under_way(connection))
