"""Queues the contacts with the oldest verdicts again."""

from typing import Annotated

from cyclopts import Parameter, validators

from bouncer.plurals import counted
from bouncer.verdicts.statuses import Status
from deployments.commands.contacts import open_contacts
from deployments.commands.output import print_json
from deployments.commands.parameters import LARGEST_COUNT, AsJson
from deployments.terminal.console import say, tell

__all__ = ["reverify"]

_A_CENTURY_DAYS = 36_500


def reverify(
    *,
    older_than_days: Annotated[float, Parameter(validator=validators.Number(gt=0, lte=_A_CENTURY_DAYS))] = 180,
    monthly_budget: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=LARGEST_COUNT))] = 10_000,
    status: list[Status] | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    json: AsJson = False,
) -> int:
    """Queues the contacts with the oldest verdicts again, at low priority; the next ingest verifies them.

    Args:
        older_than_days: Take contacts whose verdict is older.
        monthly_budget: The most contacts of a calendar month, whoever queues them.
        status: Take only contacts with this verdict; may be given several times.
        dry_run: Only report what would change.
    """
    from bouncer.repeats import reverification
    from bouncer.repeats.reverification import Old
    from bouncer.verdicts.freshness import FreshFor
    from deployments.settings import read_settings
    from deployments.terminal.display import row_progress

    settings = read_settings()
    engine = open_contacts(settings)
    with row_progress("queueing") as advance:
        report = reverification.reverify(
            engine,
            Old(older_than_days, tuple(status or ()), FreshFor(days=settings.result_max_age_days)),
            monthly_budget=monthly_budget,
            dry_run=dry_run,
            progress=advance,
        )
    if json:
        print_json(report)
        return 0
    where = "" if report.request_id is None else f" in request {report.request_id}"
    did = "would requeue" if dry_run else "requeued"
    contacts = counted(report.contacts, "contact")
    tell(f"{did} {contacts}{where}; left of the budget of {report.month}: {report.budget_left:,}")
    if report.is_cancelled:
        say(f"request {report.request_id} is cancelled, so nothing more is queued this month")
    return 0
