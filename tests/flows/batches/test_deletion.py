"""DELETE_AT_BOUNCER: a loaded batch is deleted at Bouncer, once, and nothing hangs on it."""

import pytest
from sqlalchemy import delete, select

from bouncer.erasure.erasing import erase_person
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Deletion
from flows.housekeeping import housekeeping
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue, statuses
from tests.flows.runs import ingested
from tests.sandbox_process import SandboxHandle

pytestmark = on_sqlite

_ERASES_WHEN_UPLOADED = """
    CREATE TRIGGER erased_meanwhile AFTER UPDATE OF batch_id ON Bouncer_Batches WHEN NEW.batch_id IS NOT NULL
    BEGIN
        DELETE FROM Bouncer_Queue WHERE batch_id = NEW.id AND queue_id % 5 = 0;
        UPDATE Bouncer_Batches SET erased = 1 WHERE id = NEW.id;
    END
"""
"""What an erasure does, at a moment when no test could."""


async def test_nothing_is_deleted_unless_it_is_asked_for(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """It is off by default, for the flows and for housekeeping."""
    engine = await set_up_account()
    queue(engine, addresses(10))
    await ingested()
    assert (await housekeeping()).deleted_at_bouncer == 0
    assert "delete" not in sandbox.ledger()["requests_by_operation"]


async def test_a_loaded_batch_is_deleted_once(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """One DELETE a batch, once its verdicts are stored; what counts as deleted is not asked for again."""
    engine = await set_up_account(delete_at_bouncer="after_load", batch_size=10)
    queue(engine, addresses(20))
    assert (await ingested())[0].verified == 20
    assert [batch["status"] for batch in sandbox.batches()] == ["deleted"] * 2
    await housekeeping()
    assert sandbox.ledger()["requests_by_operation"]["delete"] == 2
    # A batch that Bouncer does not have any more counts as deleted.
    write(engine, lambda c: c.execute(delete(Deletion)))
    assert (await housekeeping()).deleted_at_bouncer == 2
    assert len(read(engine, lambda c: c.scalars(select(Deletion.batch_id)).all())) == 2


@pytest.mark.parametrize("code", [405, 503])
async def test_a_deletion_that_fails_is_left_to_housekeeping(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, code: int
) -> None:
    """A refused deletion, or a Bouncer that is away, changes nothing for the contacts, and is asked for again."""
    engine = await set_up_account(delete_at_bouncer="after_load")
    queue(engine, addresses(10))
    sandbox.fault("status", operation="delete", code=code, times=3 if code == 503 else 1)
    assert (await ingested())[0].outcome == "drained"
    assert statuses(engine) == {"completed": 10}
    assert sandbox.batches()[0]["status"] == "completed"
    assert (await housekeeping()).deleted_at_bouncer == 1
    assert sandbox.batches()[0]["status"] == "deleted"


async def test_a_batch_with_an_erased_address_is_deleted_once_it_is_loaded(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Erased before the load and after it, whatever DELETE_AT_BOUNCER says; other batches stay."""
    engine = await set_up_account(batch_size=10)
    queue(engine, addresses(20))
    await ingested()
    erase_person(engine, addresses(1)[0], exports=[])
    assert (await housekeeping()).deleted_at_bouncer == 1
    assert sorted(batch["status"] for batch in sandbox.batches()) == ["completed", "deleted"]
    sandbox.post("/_sandbox/reset")
    queue(engine, addresses(5, prefix="later"), request=2)
    write(engine, lambda c: c.exec_driver_sql(_ERASES_WHEN_UPLOADED))
    assert (await ingested())[0].outcome == "drained"
    assert [batch["status"] for batch in sandbox.batches()] == ["deleted"]
