"""Flow ``verify-risky``: contacts that the first pass left risky get a second and deeper verdict."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from blocks.access import open_accounts
from blocks.run_tags import marked
from bouncer.queue.ingest_summary import IngestSummary, nothing_to_do
from bouncer.repeats.deep_pass import Risk
from bouncer.storage.tables import Layer
from bouncer.verdicts.statuses import DoubtfulStatus
from flows.ingest import ingest
from flows.parameters import OneRequest
from tasks.batches.ownership import new_owner
from tasks.queue.deep_pass import pick_risky
from tasks.requests.naming import number_of
from tasks.running.heartbeats import sends_heartbeats
from tasks.running.run_names import named_by_request

__all__ = ["verify_risky"]


@flow(
    name="verify-risky",
    flow_run_name=named_by_request("risky contacts of request", "risky contacts of all requests"),
    persist_result=False,
)
@sends_heartbeats
async def verify_risky(
    request_id: OneRequest | None = None,
    score_below: Annotated[int | None, Field(ge=0, le=101)] = 70,
    accept_all: bool = True,
    statuses: list[DoubtfulStatus] | None = None,
    again: bool = False,
) -> IngestSummary:
    """Sends contacts whose verdict leaves doubt through the deep account.

    They go into a request of their own, in batches of their own. Both verdicts are kept; the one that tells more
    counts. A contact is looked at once while its deep verdict is fresh. Needs a block bouncer-account with layer deep.

    Args:
        request_id: The name or number of one request, whose contacts alone are looked at; all requests if left at None.
        score_below: Take contacts whose score is lower, of 0 to 100; none by their score if left at None.
        accept_all: Take contacts at domains that accept mail for any address.
        statuses: Of these, only contacts with one of these verdicts. What Bouncer has answered is never bought again.
        again: Take also contacts that the deep pass has looked at already and that are still in doubt.

    Returns:
        What the deep pass did.
    """
    async with open_accounts(None, new_owner(), layer=Layer.DEEP) as accounts:
        risk = Risk(score_below=score_below, accept_all=accept_all, statuses=tuple(statuses or Risk.statuses))
        one = await number_of(accounts[0], request_id)
        picked = await pick_risky(accounts[0], one, risk, again=again)
    if request_id is not None and picked.request_id is None:
        return nothing_to_do("no contact of this request needs a deeper look")
    with marked(*([] if picked.request_id is None else [f"request:{picked.request_id}"])):
        return await ingest(request_id=picked.request_id, layer=Layer.DEEP)
