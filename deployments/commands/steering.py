"""Commands that change what becomes of the queue."""

import getpass
import os
import socket
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from bouncer.storage.engine import read, write
from deployments.commands.answers import print_json
from deployments.commands.contacts import open_contacts
from deployments.commands.parameters import LARGEST_COUNT, AsJson, Id, OneAccount, OneRequest
from deployments.server.orchestration import orchestrator
from deployments.settings import read_settings
from deployments.terminal.console import say
from deployments.terminal.exit_codes import ExitCode

__all__ = ["cancel", "pause", "requeue", "resume", "reverify"]

_A_CENTURY_DAYS = 36_500


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
        dry_run: Only say what it would do.
    """
    from bouncer.requests.requeueing import requeue as requeue_failed
    from deployments.terminal.display import row_progress

    engine = open_contacts(read_settings())
    with row_progress("requeueing") as advance:
        report = requeue_failed(
            engine, request_id=request, dead_letter=dead_letter, held=held, dry_run=dry_run, progress=advance
        )
    if json:
        print_json(report)
    else:
        did = "would go back" if dry_run else "went back"
        print(f"{report.contacts:,} failed contacts {did} into the queue, from {report.dead_letters:,} dead letters")
        if report.held:
            print(f"{report.held:,} held batches {'would be' if dry_run else 'will be'} sent again")
    return 0


def reverify(
    *,
    older_than_days: Annotated[float, Parameter(validator=validators.Number(gt=0, lte=_A_CENTURY_DAYS))] = 180,
    monthly_budget: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=LARGEST_COUNT))] = 10_000,
    status: list[Literal["deliverable", "risky", "undeliverable", "unknown"]] | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    json: AsJson = False,
) -> int:
    """Queues the contacts with the oldest verdicts again, at low priority; the next ingest verifies them.

    Args:
        older_than_days: Take contacts whose verdict is older.
        monthly_budget: The most contacts of a calendar month, whoever queues them.
        status: Take only contacts with this verdict; may be given several times.
        dry_run: Only say what it would do.
    """
    from bouncer.repeats import reverification
    from bouncer.repeats.reverification import Old
    from bouncer.verdicts.freshness import FreshFor
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
    print(
        f"{report.contacts:,} contacts {'would be' if dry_run else 'are'} queued again{where}; "
        f"{report.budget_left:,} more fit into the budget of {report.month}"
    )
    if report.is_cancelled:
        say(f"request {report.request_id} is cancelled, so nothing more is queued this month")
    return 0


def cancel(
    *,
    request: Annotated[int, Parameter(help="The id of the request.", validator=Id)],
    reason: str = "by hand",
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    json: AsJson = False,
) -> int:
    """Cancels a request: nothing of it is sent any more, and what Bouncer has of it is finished early and loaded.

    Args:
        reason: Why, for others to read: each contact fails with it.
        dry_run: Only say what it would do.
    """
    settings = read_settings()
    with orchestrator(settings) as ui:
        from deployments.running import run_cancel

        report = run_cancel(
            settings, request_id=request, reason=reason, by=_caller(), dry_run=dry_run, ui=ui, quiet=json
        )
    if json:
        print_json(report)
    else:
        print(report.message)
    return ExitCode.COULD_NOT_RUN if report.batches and not dry_run else 0


def pause(*, reason: str = "by hand", account: OneAccount = None) -> int:
    """Lets no more uploads begin; batches in flight are polled and loaded to their end.

    Args:
        reason: Why, for others to read.
    """
    from bouncer.accounts import state as account_state

    engine = open_contacts(read_settings())
    named = read(engine, account_state.known_or_all, account)
    paused = [name for name in named if write(engine, account_state.pause, name, by=_caller(), reason=reason)]
    which = f" {', '.join(paused)}" if len(named) > 1 else ""
    print(f"paused{which}; bouncer-flows resume lets uploads begin again" if paused else "it was paused already")
    return 0


def resume(*, account: OneAccount = None) -> int:
    """Lets uploads begin again. An account without credits pauses anew at its next upload."""
    from bouncer.accounts import state as account_state

    engine = open_contacts(read_settings())
    named = read(engine, account_state.known_or_all, account)
    resumed = [name for name in named if write(engine, account_state.resume, name)]
    which = f" {', '.join(resumed)}" if len(named) > 1 else ""
    print(f"resumed{which}" if resumed else "it was not paused")
    return 0


def _caller() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # In a container, under the number of a user that it does not know.
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
