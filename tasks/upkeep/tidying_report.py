"""Report of housekeeping, for people: in the log and as an artifact."""

from dataclasses import dataclass

from prefect import get_run_logger
from prefect.artifacts import acreate_markdown_artifact

from bouncer.installation import here

__all__ = ["Tidied", "report_tidying"]


@dataclass(frozen=True)
class Tidied:
    """Result of one run of housekeeping.

    Attributes:
        rows: Rows deleted, by table.
        flow_runs: Prefect's flow runs deleted, with their logs.
        artifacts: Their artifacts deleted.
        slots: Slots of dead runs that are free again.
        contacts: Contacts that waited for batches which are gone; they are requeued.
        empty_batches: Batches closed because their contacts are gone.
        deleted_at_bouncer: Loaded batches deleted at Bouncer, where that had failed before.
        left_behind: Batches that no run works on; the next ingest goes on with them.
    """

    rows: dict[str, int]
    flow_runs: int
    artifacts: int
    slots: int
    contacts: int
    empty_batches: int
    deleted_at_bouncer: int
    left_behind: int

    @property
    def is_routine(self) -> bool:
        """Tells whether nothing went but figures past their age, which an idle installation has each hour."""
        others = (self.flow_runs, self.artifacts, self.slots, self.contacts, self.empty_batches)
        return not any((self.rows["Bouncer_Results"], *others, self.deleted_at_bouncer, self.left_behind))


async def report_tidying(tidied: Tidied) -> None:
    """Logs what was done, and publishes it as an artifact of the run unless it is routine."""
    lines = {
        **{f"rows of {table} deleted": count for table, count in tidied.rows.items()},
        "flow runs deleted, with their logs": tidied.flow_runs,
        "artifacts deleted": tidied.artifacts,
        "slots of dead runs freed": tidied.slots,
        "contacts of lost batches requeued": tidied.contacts,
        "batches without contacts closed": tidied.empty_batches,
        "loaded batches deleted at Bouncer": tidied.deleted_at_bouncer,
        "batches that wait for the next ingest": tidied.left_behind,
    }
    message = ", ".join(f"{count:,} {what}" for what, count in lines.items() if count) or "nothing to tidy"
    get_run_logger().info("%s", message)
    if tidied.is_routine:
        return
    table = ["| what | how many |", "|---|---:|", *(f"| {what} | {count:,} |" for what, count in lines.items())]
    await acreate_markdown_artifact(
        "\n".join(["## Housekeeping", "", *table]),
        key=here().artifact("housekeeping"),
        description=f"Housekeeping: {message}"[:500],
    )
