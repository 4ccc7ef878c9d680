"""Slots that nobody holds any more although the Prefect server counts them: found by the batches' rows, and freed."""

import time
from collections.abc import Sequence

import httpx
from prefect import get_client, get_run_logger

from blocks.access import Access
from bouncer.batches import ownership
from bouncer.installation import here
from bouncer.plurals import counted
from tasks.batches.slots import LEASE_SECONDS
from tasks.running.stopping import sleep_unless_stopping

__all__ = ["SlotKeeper", "mend_slots"]

_LOOKS = 7
"""So often more slots must be counted than are held before any is freed: a run that has just got one writes its lease
down in the next moment, and one whose database was away says with its next heartbeat that it is alive."""

_BETWEEN_LOOKS_SECONDS = 1.0
_EVERY_SECONDS = 30.0


async def mend_slots(access: Access) -> int:
    """Frees the slots that no living run has written down in the row of a batch that it has in flight.

    A Prefect server that keeps leases in memory forgets them when it dies, and goes on counting their slots: nobody
    could give these back. Safe to run twice, and beside runs that take slots: a slot too many that is freed only lets
    a run begin sooner, and how many batches are in flight is limited in the database, where uploads are admitted.

    Returns:
        How many slots are free again.
    """
    name = here().limit("batches", access.name)
    async with get_client() as client:
        leaked: int | None = None
        for look in range(_LOOKS):
            if look:
                await sleep_unless_stopping(_BETWEEN_LOOKS_SECONDS)
            taken = (await client.read_global_concurrency_limit_by_name(name)).active_slots
            excess = taken - await ownership.count_held_slots(access, access.name) if taken else 0
            leaked = excess if leaked is None else min(leaked, excess)
            if leaked <= 0:
                return 0
        slots = leaked or 0
        # By so many, not to so many: others take and give back slots at the same time. How long these were held nobody
        # knows; the server only makes a suggestion of it for when to come again.
        await client.release_concurrency_slots(names=[name], slots=slots, occupancy_seconds=LEASE_SECONDS)
    get_run_logger().warning("%s of %s held by no living run, and free again", counted(slots, "slot"), name)
    return slots


class SlotKeeper:
    """Mends slots again and again while a run works, since the Prefect server may die under it.

    Args:
        accounts: The accounts of the run.
    """

    def __init__(self, accounts: Sequence[Access]) -> None:
        self._accounts = accounts
        self._not_before = time.monotonic() + _EVERY_SECONDS

    async def mend(self) -> None:
        """Mends them now, unless that was done a moment ago."""
        if time.monotonic() < self._not_before:
            return
        self._not_before = time.monotonic() + _EVERY_SECONDS
        for access in self._accounts:
            try:
                await mend_slots(access)
            except httpx.HTTPError as error:
                get_run_logger().warning("the slots could not be looked at (%s); later again", type(error).__name__)
