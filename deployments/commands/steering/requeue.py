"""Puts failed contacts back into the queue."""

from typing import Annotated

from cyclopts import Parameter

from bouncer.plurals import counted
from deployments.commands.contacts import open_contacts, request_number
from deployments.commands.output import print_json
from deployments.commands.parameters import AsJson, Id, OneRequest

__all__ = ["requeue"]


def requeue(
    *,
    request: OneRequest = None,
    dead_letter: Annotated[int | None, Parameter(help="The id of one dead letter.", validator=Id)] = None,
    held: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    json: AsJson = False,
) -> int:
    """Puts failed contacts back into the queue and marks their dead letters reviewed; the next ingest sends them.

    Args:
        held: Also send again the batches whose upload was lost and that were held. They may be paid twice.
        dry_run: Only report what would change.
    """
    from bouncer.requests.requeueing import requeue as requeue_failed
    from deployments.settings import read_settings
    from deployments.terminal.console import tell
    from deployments.terminal.display import row_progress

    engine = open_contacts(read_settings())
    number = request_number(request, engine)
    with row_progress("requeueing") as advance:
        report = requeue_failed(
            engine,
            request_id=number,
            dead_letter=dead_letter,
            held=held,
            dry_run=dry_run,
            progress=advance,
        )
    if json:
        print_json(report)
    else:
        did = "would go back" if dry_run else "went back"
        contacts, letters = counted(report.contacts, "failed contact"), counted(report.dead_letters, "dead letter")
        tell(f"{contacts} {did} into the queue, from {letters}")
        if report.held:
            batches = counted(report.held, "held batch", "held batches")
            tell(f"{batches} {'would be' if dry_run else 'will be'} sent again")
    return 0
