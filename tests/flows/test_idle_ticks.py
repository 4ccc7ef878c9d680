"""Ticks that found nothing: the list of runs shows those that did something."""

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

from blocks.run_tags import marked
from flows.dispatch import dispatch
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue

pytestmark = pytest.mark.timeout(600)


async def _idle() -> int:
    async with get_client() as client:
        return await client.count_flow_runs(flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=["idle"])))


@on_sqlite
@pytest.mark.parametrize("tag", ["by hand", "tick"])
async def test_runs_that_did_something_stay(set_up_account: SetUpAccount, tag: str) -> None:
    """A run by hand is looked at by whoever started it, and one that verified something is no idle one."""
    engine = await set_up_account()
    before = await _idle()
    if tag == "tick":
        queue(engine, addresses(5))
    with marked(tag):
        await dispatch()
    assert await _idle() == before
