"""Flow ingest: what waits in the queue ends with a verdict, and each address is paid for once."""

import asyncio

import pytest
from sqlalchemy import select, update

from bouncer.queue.claiming import claim
from bouncer.requests.counting import count_dead_letters
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch, Contact, QueuedContact
from bouncer.verdicts.freshness import FreshFor
from flows.ingest import ingest
from tests.bouncer.storage.existing_tables import on_servers_in_time, on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, assert_verified_once, queue, queue_known, statuses
from tests.flows.runs import ingested, until_it_holds
from tests.sandbox_process import SandboxHandle


@pytest.mark.mainline
async def test_every_contact_gets_its_verdict_and_is_paid_for_once(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Contacts of several batches all end with Bouncer's verdict, and running it again does nothing and says so."""
    engine = await set_up_account(max_concurrent_batches=2)
    queue(engine, addresses(1500))
    summary, _ = await ingested()
    ledger = sandbox.ledger()
    assert (summary.outcome, summary.contacts, summary.verified) == ("drained", 1500, 1500)
    assert (summary.failed, summary.left, summary.batches, summary.reused) == (0, 0, 4, 0)
    assert summary.message == "drained: 1,500 contacts verified, 0 failed, 0 still wait"
    assert sum(summary.verdicts.values()) == 1500
    assert (ledger["batches"], ledger["downloads"]) == (4, 4)
    assert ledger["most_in_flight"] <= 2
    # Credits, then for each batch an upload, a download, and a poll each 0.1 s of its 0.3 s at the most.
    assert ledger["requests"] <= 1 + 4 * (2 + 5)
    assert set(ledger["answers_by_status"]) == {"200"}
    assert_verified_once(engine, sandbox, contacts=1500)
    requests = sandbox.ledger()["requests"]
    again, _ = await ingested()
    assert (again.outcome, again.batches) == ("nothing to do", 0)
    assert again.message == "nothing to do: no contacts wait in the queue"
    assert sandbox.ledger()["requests"] == requests


@pytest.mark.scenario
async def test_equal_addresses_are_paid_for_once(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """Contacts that share an address, in one request or in two, are all settled by one payment."""
    engine = await set_up_account(batch_size=200, max_concurrent_batches=2)
    same = [address.upper() for address in addresses(50)]
    queue(engine, addresses(300) + same)
    contacts = queue(engine, addresses(300), request=2)
    queue_known(engine, contacts[:20], request=3)
    summary, _ = await ingested()
    assert (summary.outcome, summary.verified, summary.failed) == ("drained", 670, 0)
    assert statuses(engine) == {"completed": 670}
    ledger = sandbox.ledger()
    # Verdicts of unknown are free and may be better next time, so they alone are asked for again.
    assert (ledger["addresses_unique"], ledger["addresses_charged_twice"]) == (300, 0)
    assert ledger["addresses_uploaded"] < 330


@on_sqlite
async def test_one_request_can_be_verified_alone(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """With a request's id, only its contacts are sent, and the summary is about them."""
    engine = await set_up_account()
    queue(engine, addresses(60, prefix="first"), request=1)
    queue(engine, addresses(40, prefix="second"), request=2)
    summary, _ = await ingested(2)
    assert (summary.outcome, summary.contacts, summary.verified, summary.left) == ("drained", 40, 40, 0)
    assert statuses(engine, request=1) == {"queued": 60}
    assert statuses(engine, request=2) == {"completed": 40}
    assert sandbox.ledger()["addresses_uploaded"] == 40


async def test_contacts_that_are_queued_meanwhile_are_taken_too(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Ingest ends when nothing waits any more, not when it has done what waited at its start."""
    engine = await set_up_account()
    sandbox.post("/_sandbox/settings", {"fixed_seconds": 2})
    queue(engine, addresses(50))
    running = asyncio.create_task(ingested())

    @until_it_holds
    async def uploaded() -> None:
        assert sandbox.ledger()["batches"] == 1

    await uploaded()
    queue(engine, addresses(70, prefix="later"), request=2, priority=100)
    summary, _ = await running
    assert (summary.verified, summary.contacts, summary.batches) == (120, 120, 2)
    assert_verified_once(engine, sandbox, contacts=120)


@pytest.mark.mainline
async def test_two_ingests_at_once_share_the_work(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """Two runs over one queue verify every contact, pay for none twice, and both end."""
    engine = await set_up_account(batch_size=100, max_concurrent_batches=1)
    queue(engine, addresses(200))
    (first, _), (second, _) = await asyncio.gather(ingested(), ingested())
    assert {first.outcome, second.outcome} <= {"drained", "nothing to do"}
    assert_verified_once(engine, sandbox, contacts=200)
    # Each contact and each credit is in one summary: both had claimed all of them.
    assert first.verified + second.verified == 200
    assert first.credits_used + second.credits_used == sandbox.ledger()["credits_charged"]
    assert sandbox.ledger()["most_in_flight"] == 1


@on_sqlite
@pytest.mark.mainline
async def test_urgent_contacts_go_first(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """Of two requests, the one of higher priority is uploaded first, although it was queued last."""
    engine = await set_up_account(batch_size=30, max_concurrent_batches=1)
    queue(engine, addresses(30, prefix="patient"), request=1, priority=25)
    queue(engine, addresses(30, prefix="urgent"), request=2, priority=100)
    await ingested()
    order = read(engine, lambda connection: list(connection.scalars(select(Batch.request_id).order_by(Batch.id))))
    assert order == [2, 1]


@on_sqlite
@pytest.mark.mainline
async def test_what_cannot_be_mailed_to_fails_with_its_reason(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """A contact whose address is none fails before it costs anything, with words that a person understands."""
    engine = await set_up_account()
    queue(engine, ["no address at all", *addresses(5)])
    summary, _ = await ingested()
    assert (summary.outcome, summary.verified, summary.failed) == ("drained", 5, 1)
    query = select(QueuedContact.error_message).where(QueuedContact.status == "failed")
    (reason,) = read(engine, lambda connection: list(connection.scalars(query)))
    assert reason is not None
    assert reason.startswith("not an address that can be mailed to: ")
    assert sandbox.ledger()["addresses_uploaded"] == 5


@on_sqlite
async def test_addresses_that_are_gone_before_the_upload_are_no_failure_of_bouncers(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """A batch without an address left was once sent, refused, and its contact failed with "Bouncer answered 400"."""
    engine = await set_up_account()
    queue(engine, addresses(1))
    claimed = write(engine, claim, "default", batches=1, batch_size=10, fresh_for=FreshFor())
    assert len(claimed.batches) == 1
    write(engine, lambda connection: connection.execute(update(Contact).values(email="gone")))
    summary, _ = await ingested()
    assert (summary.outcome, summary.failed) == ("drained", 1)
    (reason,) = read(engine, lambda connection: list(connection.scalars(select(QueuedContact.error_message))))
    assert reason is not None
    assert reason.startswith("not an address that can be mailed to: ")
    assert read(engine, count_dead_letters) == 0
    assert sandbox.ledger()["batches"] == 0
    assert set(sandbox.ledger()["answers_by_status"]) <= {"200"}


@on_servers_in_time
async def test_contacts_that_another_program_holds_do_not_keep_ingest_from_ending(
    set_up_account: SetUpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ingest once looked for ever, with a task run each time, at contacts that it could not claim."""
    monkeypatch.setattr("flows.ingest.LOOK_SECONDS", 0.1)
    engine = await set_up_account()
    queue(engine, addresses(2))
    with engine.begin() as application:
        application.execute(select(QueuedContact.queue_id).with_for_update())
        summary, _ = await ingested()
    assert (summary.outcome, summary.left) == ("unfinished", 2)
    assert "another program holds their rows locked" in summary.message
    assert (await ingested())[0].verified == 2


@on_sqlite
async def test_an_account_that_is_missing_is_named(set_up_account: SetUpAccount) -> None:
    """An ingest for an account that was never set up says which block is missing and what to run."""
    await set_up_account()
    with pytest.raises(Exception, match="block bouncer-account/deep is missing; run bouncer-flows setup"):
        await ingest(accounts=["deep"])
