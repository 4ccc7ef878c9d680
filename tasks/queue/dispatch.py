"""Starting batches on workers: each a run of deployment ``verify-batch``, in the work queue of its priority."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import httpx
from prefect import get_client, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import State
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound, PrefectException
from sqlalchemy.exc import DBAPIError

from blocks.access import Access
from bouncer.batches.state import AWAITS_UPLOAD, BatchTitle, BatchWork
from bouncer.batches.unsettled import ownerless
from bouncer.errors import BouncerFlowsError, SettingRefused
from bouncer.installation import here
from bouncer.plurals import counted
from bouncer.queue.claiming import Claimed
from tasks.costs.budget import Budget
from tasks.queue.claim import claim
from tasks.queue.requeue_unsent import requeue_unsent
from tasks.queue.work_left import find_work_left
from tasks.requests.completion import follow_requests
from tasks.running.this_run import own_deployment

__all__ = ["QUEUES", "keep_going", "make_places", "refill", "start_on_workers", "take_up"]

QUEUES = {100: "critical", 75: "high", 50: "normal", 25: "low"}
"""The work queue of each of the plan's priorities; the first is served first."""

START_PATIENCE = timedelta(minutes=3)
"""For so long a worker may take to start a run; the process of one that died meanwhile will never come."""


@task(name="make-places", task_run_name="make places", cache_policy=NO_CACHE, persist_result=False)
async def make_places(accounts: Sequence[Access]) -> None:
    """Lets as many runs of deployment ``verify-batch`` be under way as the accounts have slots together.

    Safe to run twice: it only ever raises the deployment's limit, which prefect.yaml sets for one account.

    Raises:
        SettingRefused: There is no such deployment.
    """
    slots = sum(access.account.max_concurrent_batches for access in accounts)
    async with get_client() as client:
        limit = (await _target(client)).global_concurrency_limit
        if limit is not None and limit.limit < slots:
            await client.update_global_concurrency_limit(limit.name, GlobalConcurrencyLimitUpdate(limit=slots))
            get_run_logger().info(
                "%s of verify-batch may be under way now, %d until now", counted(slots, "run"), limit.limit
            )


async def take_up(accounts: Sequence[Access], request_id: int | None) -> None:
    """Starts runs for the batches that earlier runs left behind.

    Args:
        accounts: The accounts, over one database.
        request_id: Only this request, or None for all.
    """
    if left_behind := (await find_work_left(accounts, request_id)).left_behind:
        await start_on_workers(left_behind)


async def refill(accounts: Sequence[Access], request_id: int | None, budget: Budget) -> Claimed:
    """Starts new batches for the free slots and a little ahead.

    A little ahead, so that a freed slot need not wait for the next dispatch. No more, so that an urgent contact does
    not wait behind a thousand ready-made batches. Urgent contacts are claimed even where less urgent batches are ready:
    they overtake them by their work queue.

    Args:
        accounts: The accounts, over one database.
        request_id: Only this request, or None for all.
        budget: What the run may commit. Batches of earlier runs count as theirs.

    Returns:
        What was claimed, altogether.
    """
    total = Claimed()
    while True:
        left = await find_work_left(accounts, request_id)
        for access in accounts:
            if access.name in left.unsent:
                await requeue_unsent(access)
        claims = [
            await claim(access, left.turns[access.name], request_id, budget, for_workers=True)
            for access in accounts
            if access.name in left.turns
        ]
        total = sum(claims, total)
        if made := [batch for claimed in claims for batch in claimed.batches]:
            await start_on_workers(made)
        if not any(claimed.took_any for claimed in claims):
            return total


async def keep_going(access: Access, batch: BatchWork) -> None:
    """On a worker, starts the next batches as soon as there may be room for them, instead of at the next dispatch.

    Args:
        access: The account and the database.
        batch: The batch that has ended, however it did, or that Bouncer has begun with; its halves, where Bouncer
            refused it, are started first.
    """
    # The batches of an ingest that verifies them itself are subflows; it goes on by itself.
    if own_deployment() is None:
        return
    try:
        # What else was left behind is left to flow dispatch: a dozen batches that end at once would each ask for it.
        if halves := await ownerless(access, access.name, part_of=batch.split_from or batch.id):
            await start_on_workers(halves)
        # Under a cap for each run only flow dispatch claims: it says how much one run of it may commit.
        if not access.account.max_credits_per_run:
            await refill([access], None, Budget())
        await follow_requests(access)
    except (BouncerFlowsError, DBAPIError, httpx.HTTPError, PrefectException) as error:
        # This batch needs none of it; that the Prefect server is away now must not make its run look failed.
        reason = str(error) if isinstance(error, BouncerFlowsError) else type(error).__name__
        get_run_logger().warning("%s; the next run of dispatch starts the next batches", reason)


@task(name="start-on-workers", task_run_name="start on workers", cache_policy=NO_CACHE, persist_result=False)
async def start_on_workers(ready: Iterable[BatchTitle]) -> None:
    """Starts a run of deployment ``verify-batch`` for each batch.

    Safe to run twice: a batch has one run for each time that it was left behind, by its idempotency key.

    Args:
        ready: The batches to start.

    Raises:
        SettingRefused: There is no such deployment.
    """
    async with get_client() as client:
        target = await _target(client)
        for batch in ready:
            await _start(client, target, batch)


async def _target(client: PrefectClient) -> DeploymentResponse:
    name = here().deployment_of("verify-batch")
    try:
        return await client.read_deployment_by_name(name)
    except ObjectNotFound:
        raise SettingRefused(f"deployment {name} does not exist; run bouncer-flows deploy") from None


async def _start(client: PrefectClient, target: DeploymentResponse, batch: BatchTitle) -> None:
    if batch.runs and await _was_cancelled(client, batch):
        return
    key = here().once(f"batch-{batch.id}-{batch.runs}")
    while True:
        run = await client.create_flow_run_from_deployment(
            target.id,
            parameters={"batch_id": batch.id},
            name=str(batch),
            tags=[*here().tags, f"request:{batch.request_id}", f"batch:{batch.id}"],
            idempotency_key=key,
            work_queue_name=here().queue(target.work_pool_name, _queue_of(batch)) if target.work_pool_name else None,
        )
        if run.state is None or not (run.state.is_final() or _is_silent(run.state)):
            return
        if run.state.is_cancelled():
            _tell_cancelled(batch)
            return
        # That run never took the batch: its worker died before its process was up, say. Should it come after all, one
        # of the two finds the batch taken.
        get_run_logger().warning("run %s of batch %d is %s; another is started", run.id, batch.id, run.state.name)
        key = f"{key}-{run.id}"


async def _was_cancelled(client: PrefectClient, batch: BatchTitle) -> bool:
    of_batch = FlowRunFilter(tags=FlowRunFilterTags(all_=[here().tag, f"batch:{batch.id}"]))
    last = await client.read_flow_runs(flow_run_filter=of_batch, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1)
    is_cancelled = any(run.state is not None and run.state.is_cancelled() for run in last)
    if is_cancelled:
        _tell_cancelled(batch)
    return is_cancelled


def _tell_cancelled(batch: BatchTitle) -> None:
    what = (
        "Bouncer has it, or may have it, and it may be paid for"
        if batch.state not in AWAITS_UPLOAD
        else "nothing of it was uploaded"
    )
    get_run_logger().warning(
        "the run of batch %d was cancelled, so nothing is started for it; %s; retry that run to go on", batch.id, what
    )


def _is_silent(state: State) -> bool:
    return not state.is_scheduled() and datetime.now(UTC) - state.timestamp > START_PATIENCE


def _queue_of(batch: BatchTitle) -> str:
    return next((queue for priority, queue in QUEUES.items() if batch.priority >= priority), QUEUES[25])
