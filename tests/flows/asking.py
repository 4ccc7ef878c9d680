"""A process that asks for the state of a batch as often as it may, through the client that the flows use."""

import asyncio
import sys

from blocks.access import open_access
from tasks.batches.ownership import new_owner

_AT_ONCE = 5


async def _ask(batch: str) -> None:
    async with open_access("default", new_owner()) as access:
        while True:
            await asyncio.gather(*(access.client.batch_progress(batch) for _ in range(_AT_ONCE)))


if __name__ == "__main__":
    asyncio.run(_ask(sys.argv[1]))
