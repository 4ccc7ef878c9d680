"""The global concurrency limits as they stand on the Prefect server: looked at, made and mended."""

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.exceptions import ObjectNotFound

from blocks.limits import Limit
from bouncer.errors import LimitsMissing

__all__ = ["ensure_limit", "is_set", "mend_limit"]


async def is_set(client: PrefectClient, limit: Limit) -> bool:
    """Tells whether the limit is there, active, and set as wanted."""
    try:
        found = await client.read_global_concurrency_limit_by_name(limit.name)
    except ObjectNotFound:
        return False
    decay = round(found.slot_decay_per_second, 3)
    return bool(found.active) and (found.limit, decay) == (limit.slots, round(limit.decay_per_second, 3))


async def mend_limit(client: PrefectClient, limit: Limit) -> list[str]:
    """Sets a limit that is there as wanted; slots and tokens that are taken stay taken.

    Returns:
        A line that says so; none where it was set so already.

    Raises:
        LimitsMissing: It is not there. A new one would have all its tokens, although some may be spent already.
    """
    if await is_set(client, limit):
        return []
    try:
        await client.update_global_concurrency_limit(limit.name, GlobalConcurrencyLimitUpdate(**_values(limit)))
    except ObjectNotFound:
        raise LimitsMissing(f"limit {limit.name} does not exist; run bouncer-flows setup") from None
    return [_says(limit)]


async def ensure_limit(client: PrefectClient, limit: Limit) -> list[str]:
    """Makes the limit, or sets it as wanted.

    Returns:
        A line that says so; none where nothing was to be done.
    """
    try:
        return await mend_limit(client, limit)
    except LimitsMissing:
        await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=limit.name, **_values(limit)))
    return [_says(limit)]


def _values(limit: Limit) -> dict[str, float]:
    return {"limit": limit.slots, "slot_decay_per_second": limit.decay_per_second, "active": True}


def _says(limit: Limit) -> str:
    return f"limit {limit.name} set to {limit.slots} slots, {limit.decay_per_second:.3g} a second"
