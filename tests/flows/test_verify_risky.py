"""Flow verify-risky: risky contacts go through the deep account once, and both verdicts are kept."""

from collections import Counter

import pytest
from prefect import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.types.entrypoint import EntrypointType
from sqlalchemy import Engine, select

from blocks.bouncer_account import BouncerAccount
from bouncer.errors import SettingRefused
from bouncer.installation import here
from bouncer.queue.ingest_summary import IngestSummary
from bouncer.storage.engine import read
from bouncer.storage.tables import Batch, Contact, Request, Result
from deployments.settings import Settings
from deployments.setup.set_up import set_up
from flows.verify_risky import verify_risky
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue, statuses
from tests.flows.runs import events, ingested, until_it_holds
from tests.sandbox_process import SandboxHandle

DEEP_KEY = "sandbox-deep-key"


async def _deep_pass(request_id: int | None = None, **parameters: object) -> IngestSummary:
    state: State[IngestSummary] = await verify_risky(  # type: ignore[call-overload]  # parameters of any type
        request_id, return_state=True, **parameters
    )
    return await state.aresult()


def _verdicts(engine: Engine) -> dict[str, Counter[str]]:
    query = select(Batch.layer, Result.bouncer_status).join(Batch, Batch.id == Result.batch_id)
    found: dict[str, Counter[str]] = {"basic": Counter(), "deep": Counter()}
    for layer, status in read(engine, lambda c: c.execute(query).all()):
        found[layer][status] += 1
    return found


async def test_risky_contacts_get_a_second_verdict(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """Accept-all and low scores go once through the deep account, in batches of their own; the rest costs nothing."""
    engine = await set_up_account(deep_bouncer_api_key=DEEP_KEY, batch_size=200)
    queue(engine, [f"someone{number}@company{number % 40}.com" for number in range(400)])
    first, _ = await ingested()
    assert (first.outcome, first.verified) == ("drained", 400)
    before = _verdicts(engine)
    in_doubt = Result.bouncer_status.in_(["risky", "unknown"])
    accept_all = Result.domain_info["acceptAll"].as_string() == "yes"
    risky = read(
        engine, lambda c: set(c.scalars(select(Result.global_id).where(in_doubt, accept_all | (Result.score < 70))))
    )
    assert 0 < len(risky) < 200

    summary = await _deep_pass(1)
    assert (summary.outcome, summary.verified, summary.left) == ("drained", len(risky), 0)
    keys = Counter(
        {key: sum(b["quantity"] for b in sandbox.batches() if b["key"] == key) for key in ("sandbox-key", DEEP_KEY)}
    )
    assert keys == {"sandbox-key": 400, DEEP_KEY: len(risky)}
    after = _verdicts(engine)
    assert after["basic"] == before["basic"]
    assert after["deep"].total() == len(risky)
    # The deep account tells of most addresses at such domains whether they are there.
    assert after["deep"]["risky"] < before["basic"]["risky"] / 2
    deep_batches = read(engine, lambda c: c.scalars(select(Batch.id).where(Batch.layer == "deep")).all())
    counting = read(
        engine, lambda c: c.scalars(select(Contact.bouncer_batch_id).where(Contact.global_id.in_(risky))).all()
    )
    assert set(counting) & set(deep_batches)
    assert statuses(engine, request=1) == {"completed": 400}
    names = read(engine, lambda c: list(c.scalars(select(Request.name).order_by(Request.request_id))))
    assert names == ["request 1", "deep pass of request 1"]
    assert sandbox.ledger()["addresses_twice"] == 0

    again = await _deep_pass()
    assert (again.outcome, again.batches) == ("nothing to do", 0)


@on_sqlite
async def test_ingest_finishes_a_deep_pass_that_was_cut_short(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """What waits for the deep pass is taken by the next ingest, each layer by its account."""
    engine = await set_up_account(deep_bouncer_api_key=DEEP_KEY)
    queue(engine, ["accept-all+1@sandbox.usebouncer.com", "deliverable+1@sandbox.usebouncer.com"])
    await ingested()
    sandbox.fault("status", operation="create", code=401, message="user not found")
    with pytest.raises(Exception, match="401"):
        await verify_risky(1)
    queue(engine, addresses(3), request=2)
    summary, _ = await ingested()
    assert (summary.outcome, summary.left) == ("drained", 0)
    assert Counter(batch["key"] for batch in sandbox.batches()) == {"sandbox-key": 2, DEEP_KEY: 1}
    (verdict,) = read(
        engine,
        lambda c: c.execute(
            select(Contact.bouncer_status, Contact.bouncer_batch_id).where(Contact.global_id == 1)
        ).all(),
    )
    assert tuple(verdict) == ("deliverable", 2)


@on_sqlite
async def test_without_a_deep_account_it_says_what_is_missing(set_up_account: SetUpAccount) -> None:
    """A deep pass needs an account of its own; a request without risky contacts needs none of its time."""
    engine = await set_up_account()
    with pytest.raises(SettingRefused, match="no account block serves the deep layer"):
        await verify_risky()
    await set_up_account(deep_bouncer_api_key=DEEP_KEY)
    queue(engine, ["deliverable@sandbox.usebouncer.com"])
    await ingested()
    summary = await _deep_pass(1)
    assert summary.message == "nothing to do: no contact of this request needs a deeper look"


@on_sqlite
async def test_setup_makes_the_deep_accounts_block_and_limits(set_up_account: SetUpAccount) -> None:
    """DEEP_BOUNCER_API_KEY makes block bouncer-account/deep with layer deep, and limits of its own."""
    await set_up_account(deep_bouncer_api_key=DEEP_KEY, max_concurrent_batches=4)
    async with get_client() as client:
        limits = {limit.name: limit.limit for limit in await client.read_global_concurrency_limits(limit=50, offset=0)}
    assert limits["bouncer-batches-deep"] == limits["bouncer-batches"] == 4
    assert {"bouncer-api-deep", "bouncer-uploads-deep"} <= set(limits)


@on_sqlite
@pytest.mark.scenario
async def test_it_follows_the_first_pass_of_a_request(set_up_account: SetUpAccount) -> None:
    """Setup lets a complete request start its deep pass, where an account can do it; without one nothing is started."""
    deployment = await verify_risky.ato_deployment(
        "verify-risky", tags=list(here().tags), entrypoint_type=EntrypointType.MODULE_PATH
    )
    deployment_id = await deployment.aapply()
    engine = await set_up_account(deep_bouncer_api_key=DEEP_KEY)
    queue(engine, ["accept-all@sandbox.usebouncer.com"], request=7101)
    await ingested()

    @until_it_holds
    async def started() -> FlowRun:
        of_deployment = DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id]))
        async with get_client() as client:
            of_all = await client.read_flow_runs(deployment_filter=of_deployment)
        # Requests of other tests may be told as complete just now.
        runs = [run for run in of_all if run.parameters.get("request_id") == 7101]
        # Where it was not started, these say why.
        assert len(runs) == 1, [event["payload"] for event in await events("prefect.automation.action.failed")]
        return runs[0]

    await started()
    await BouncerAccount.adelete("deep")
    assert "automation 'bouncer-flows: deep pass of complete requests' taken away" in await set_up(Settings())
    async with get_client() as client:
        await client.delete_deployment(deployment_id)
