"""Second chances in a run: nobody waits for them, and they are taken when their time has come."""

from sqlalchemy import select

from bouncer.storage.engine import read
from bouncer.storage.tables import Request, SecondChance
from tests.bouncer.contacts import set_back
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import queue, statuses
from tests.flows.runs import ingested
from tests.sandbox_process import SandboxHandle


@on_sqlite
async def test_unknown_contacts_are_tried_again_after_their_time(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """A drained ingest does not wait for them; a later one tries them again, twice at most, at no cost."""
    engine = await set_up_account()
    queue(engine, [f"unknown+{number}@sandbox.usebouncer.com" for number in range(3)])
    queue(engine, ["deliverable@sandbox.usebouncer.com"], request=2)
    first, _ = await ingested()
    assert (first.outcome, first.verified, first.left) == ("drained", 4, 0)
    assert (await ingested())[0].outcome == "nothing to do"
    when = select(Request.bouncer_completed_ts).order_by(Request.request_id)
    completed = read(engine, lambda c: list(c.scalars(when)))
    outcomes = []
    for _ in range(3):
        set_back(engine, SecondChance.try_again_ts, 1, SecondChance.try_again_ts.is_not(None))
        outcomes.append((await ingested())[0])
    assert [(summary.outcome, summary.verified) for summary in outcomes] == [
        ("drained", 3),
        ("drained", 3),
        ("nothing to do", 0),
    ]
    assert sandbox.ledger()["addresses_uploaded"] == 4 + 3 + 3
    assert sandbox.ledger()["credits_charged"] == 0
    assert statuses(engine) == {"completed": 4}
    # Their request was complete all the time.
    assert read(engine, lambda c: list(c.scalars(when))) == completed


@on_sqlite
async def test_they_can_be_switched_off(set_up_account: SetUpAccount) -> None:
    """With SECOND_CHANCES=0 an unknown contact stays as it is."""
    engine = await set_up_account(second_chances=0)
    queue(engine, ["unknown@sandbox.usebouncer.com"])
    await ingested()
    assert read(engine, lambda c: c.scalars(select(SecondChance.queue_id)).all()) == []
