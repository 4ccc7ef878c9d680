"""Runs flows that verify contacts in this process, with live progress on the terminal."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from prefect.context import AsyncClientContext
from sqlalchemy import Engine

from blocks.access import open_database
from blocks.run_tags import marked
from bouncer.errors import BouncerFlowsError
from bouncer.files.importing import request_names
from bouncer.plurals import counted
from bouncer.queue.ingest_summary import IngestSummary
from bouncer.requests.counting import Progress, count_contacts, require_request
from bouncer.requests.users import find_or_make_user, user_named
from bouncer.verdicts.statuses import DoubtfulStatus
from deployments.serving.callback_receiver import receiving_callbacks
from deployments.settings import Settings
from deployments.setup.set_up import set_up_the_rest
from deployments.terminal.console import say
from deployments.terminal.display import contact_progress, hide_expected_errors
from deployments.terminal.list_progress import list_shown
from flows.ingest import ingest
from flows.requests.cancel import cancel
from flows.requests.verify_list import verify_list
from flows.verify_risky import verify_risky
from tasks.requests.cancellation_report import Cancelled
from tasks.requests.list_report import ListReport
from tasks.running.stopping import graceful_signals

__all__ = ["Wanted", "run_cancel", "run_ingest", "run_verify_list", "run_verify_risky"]

_Summary = TypeVar("_Summary")

_LOOK_SECONDS = 1.0
_SHARE_OF_TIME = 20
_FEW_CHANGES = 5


@dataclass(frozen=True)
class Wanted:
    """Contacts that the deep pass should look at; see flow verify-risky."""

    request_id: int | None
    score_below: int
    statuses: list[DoubtfulStatus] | None
    again: bool


def run_ingest(
    settings: Settings,
    *,
    request_id: int | None,
    ui: str | None,
    quiet: bool,
    max_credits: int | None = None,
    verbose: bool = False,
) -> IngestSummary:
    """Sets up what is missing, then verifies what waits in the queue.

    Args:
        settings: The environment.
        request_id: Only this request, or None for all.
        ui: The address of the local server's UI, to be shown.
        quiet: Show no progress.
        max_credits: The most credits to commit, 0 for any number; None for what the account blocks say.
        verbose: Show Prefect's own account of failures too.

    Returns:
        What was done.

    Raises:
        BouncerFlowsError: It could not run.
    """
    return _run(
        lambda _: ingest(request_id, max_credits=max_credits),
        settings,
        request_id=request_id,
        ui=ui,
        verbose=verbose,
        shown=lambda engine: _shown(engine, request_id, "verifying", quiet=quiet),
    )


def run_verify_risky(
    settings: Settings, wanted: Wanted, *, ui: str | None, quiet: bool, verbose: bool = False
) -> IngestSummary:
    """Sets up what is missing, then sends risky contacts through the deep account.

    Args:
        settings: The environment.
        wanted: Which contacts.
        ui: The address of the local server's UI, to be shown.
        quiet: Show no progress.
        verbose: Show Prefect's own account of failures too.

    Returns:
        What was done.

    Raises:
        BouncerFlowsError: It could not run.
    """
    return _run(
        lambda _: verify_risky(
            wanted.request_id, score_below=wanted.score_below, statuses=wanted.statuses, again=wanted.again
        ),
        settings,
        request_id=None,
        ui=ui,
        verbose=verbose,
        shown=lambda engine: _shown(engine, None, "verifying", quiet=quiet),
    )


def run_verify_list(
    settings: Settings, order: Mapping[str, Any], *, ui: str | None, quiet: bool, verbose: bool = False
) -> ListReport:
    """Sets up what is missing, then runs flow verify-list: a list is queued, verified and given back.

    Args:
        settings: The environment.
        order: The flow's parameters; the owner by an e-mail address, which stays here.
        ui: The address of the local server's UI, to be shown.
        quiet: Show no progress.
        verbose: Show Prefect's own account of failures too.

    Returns:
        What became of the list.

    Raises:
        BouncerFlowsError: It could not run to the end.
    """
    names = request_names(order["file"], order["name"], order["owner"])
    report: ListReport = _run(
        lambda engine: verify_list(**{**order, "owner": _number_of(engine, order["owner"])}),
        settings,
        request_id=None,
        ui=ui,
        verbose=verbose,
        shown=lambda engine: list_shown(engine, names, quiet=quiet),
        new_database=True,
    )
    return report


def _number_of(engine: Engine, user: str | None) -> int | None:
    return None if user is None else find_or_make_user(engine, user_named(user))


def run_cancel(
    settings: Settings, *, request_id: int, reason: str, by: str, dry_run: bool, ui: str | None, quiet: bool
) -> Cancelled:
    """Sets up what is missing, then cancels a request and waits until nothing of it is in flight.

    Args:
        settings: The environment.
        request_id: The request.
        reason: Why.
        by: Who wants it.
        dry_run: Only report what would change.
        ui: The address of the local server's UI, to be shown.
        quiet: Show no progress.

    Returns:
        What was done.

    Raises:
        BouncerFlowsError: It could not run.
    """
    return _run(
        lambda _: cancel(request_id, reason=reason, by=by, dry_run=dry_run),
        settings,
        request_id=request_id,
        ui=ui,
        verbose=False,
        shown=lambda engine: _shown(engine, request_id, "cancelling", quiet=quiet or dry_run),
    )


def _run(
    flow: Callable[[Engine], Coroutine[Any, Any, _Summary]],
    settings: Settings,
    *,
    request_id: int | None,
    ui: str | None,
    verbose: bool,
    shown: Callable[[Engine], AbstractContextManager[None]],
    new_database: bool = False,
) -> _Summary:
    if not verbose:
        hide_expected_errors()
    # Prefect imports it in a process's first flow run, for a tenth of a second, while setup mostly waits for answers.
    threading.Thread(target=import_module, args=("fastapi.encoders",), daemon=True).start()
    changes, engine = asyncio.run(_set_up_and_open(settings, new=new_database))
    if len(changes) > _FEW_CHANGES and not verbose:
        # As before a first list, whose reader has never heard of any of them.
        changes = [f"made tables, blocks and limits: {counted(len(changes), 'change')}, which --verbose lists"]
    for change in changes:
        say(change)
    if ui is not None:
        say(f"watch the runs at {ui}")
    if request_id is not None:
        require_request(engine, request_id)
    with (
        graceful_signals(),
        receiving_callbacks(settings, engine),
        shown(engine),
    ):
        return _run_aside(lambda: flow(engine), [] if request_id is None else [f"request:{request_id}"])


async def _set_up_and_open(settings: Settings, *, new: bool) -> tuple[list[str], Engine]:
    # With one client: to make one takes longer than to ask with it.
    async with AsyncClientContext.get_or_create():
        return await set_up_the_rest(settings, new=new), await open_database()


def _run_aside(flow: Callable[[], Coroutine[Any, Any, _Summary]], tags: Sequence[str]) -> _Summary:
    # Not in the main thread: there each flow run puts Prefect's own handler of SIGTERM, which raises in the middle of
    # whatever is being done, in the place of the graceful one.
    summary: Future[_Summary] = Future()

    def run() -> None:
        try:
            with marked(*tags):
                summary.set_result(asyncio.run(flow()))
        except BaseException as error:  # noqa: BLE001  # the main thread raises it again
            summary.set_exception(error)

    threading.Thread(target=run, name="flow", daemon=True).start()
    return summary.result()


@contextmanager
def _shown(engine: Engine, request_id: int | None, what: str, *, quiet: bool) -> Iterator[None]:
    # Progress is read from the rows, so it is true whichever process does the work.
    if quiet:
        yield
        return
    began = count_contacts(engine, request_id)
    done = threading.Event()
    with contact_progress(began.open, what) as show:

        def follow() -> None:
            wait = _LOOK_SECONDS
            while not done.wait(wait):
                looked = time.monotonic()
                _tell(engine, request_id, began, show)
                # Ten million contacts take seconds to count; that must not be all that the database does.
                wait = max(_LOOK_SECONDS, _SHARE_OF_TIME * (time.monotonic() - looked))

        follower = threading.Thread(target=follow, name="progress", daemon=True)
        follower.start()
        try:
            yield
        finally:
            done.set()
            follower.join()
            _tell(engine, request_id, began, show)


def _tell(engine: Engine, request_id: int | None, began: Progress, show: Callable[[int, int, int], None]) -> None:
    try:
        now = count_contacts(engine, request_id)
    except BouncerFlowsError:
        return
    show(now.settled - began.settled, now.total - began.settled, now.assigned)
