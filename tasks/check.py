"""What must be true before anything is sent: limits that hold, a key that works, an account that is not paused."""

import httpx
from prefect import get_client, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound

from blocks.access import Access
from blocks.limits import limits_of
from bouncer import accounts
from bouncer.errors import LimitsMissing, Paused, RateLimited, UnexpectedAnswer
from tasks.announcing import announce

__all__ = ["check_account", "check_limits", "keeps_leases_in_memory"]


@task(name="check-limits", task_run_name="check limits", cache_policy=NO_CACHE, persist_result=False)
async def check_limits(access: Access) -> None:
    """Makes sure that every limit exists, is active, and is set so that Bouncer's cannot be passed.

    Safe to run twice: it only looks.

    Raises:
        LimitsMissing: One is missing, inactive or set otherwise.
    """
    wanted = limits_of(
        access.name,
        batches=access.account.max_concurrent_batches,
        requests_per_minute=access.account.rate_limit_per_minute,
    )
    async with get_client() as client:
        for limit in wanted:
            try:
                found = await client.read_global_concurrency_limit_by_name(limit.name)
            except ObjectNotFound:
                raise LimitsMissing(f"limit {limit.name} does not exist; run bouncer-flows setup") from None
            as_set = (found.limit, round(found.slot_decay_per_second, 3), found.active)
            if as_set != (limit.slots, round(limit.decay_per_second, 3), True):
                raise LimitsMissing(f"limit {limit.name} is not set as the account needs it; run bouncer-flows setup")
        if await keeps_leases_in_memory(client):
            get_run_logger().warning(
                "the Prefect server keeps slot leases in memory, so slots leak when it is killed; start it with "
                "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=prefect.server.concurrency.lease_storage.filesystem"
            )


async def keeps_leases_in_memory(client: PrefectClient) -> bool:
    """Whether the Prefect server forgets all leases when it dies; False where it does not tell."""
    try:
        settings = (await client.request("GET", "/admin/settings")).json()
    except httpx.HTTPError:
        return False
    return str(settings.get("server", {}).get("concurrency", {}).get("lease_storage", "")).endswith(".memory")


@task(name="check-account", task_run_name="check account", cache_policy=NO_CACHE, persist_result=False)
async def check_account(access: Access) -> int | None:
    """Asks Bouncer for the account's credits, which also shows that the key works.

    An account that was paused because it had no credits is resumed once it has some. Safe to run twice.

    Returns:
        The credits, or None where Bouncer does not tell.

    Raises:
        KeyRefused: The key is wrong.
        BouncerUnavailable: Bouncer cannot be reached at all.
        Paused: The account is paused.
    """
    credits_left: int | None = None
    try:
        credits_left = await access.client.credits()
    except (UnexpectedAnswer, RateLimited) as error:
        get_run_logger().warning("%s; going on without knowing the credits", error)
    if credits_left is not None:
        await access.write(accounts.record_credits, access.name, credits_left)
    state = await access.read(accounts.read_state, access.name)
    if state.waits_for_credits and credits_left:
        await access.write(accounts.resume, access.name, only_reason=accounts.OUT_OF_CREDITS)
        announce("credits.restored", account=access.name, credits=credits_left)
        get_run_logger().info("there are credits again (%d): uploads go on", credits_left)
    elif state.waits_for_credits:
        raise Paused("the account has no credits left; top it up at app.usebouncer.com, then run ingest again")
    elif state.paused_ts is not None:
        raise Paused(f"paused by {state.paused_by}: {state.paused_reason}; bouncer-flows resume lets it go on")
    return credits_left
