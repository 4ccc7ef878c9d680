"""Never paying for what is known: a list that comes again costs what is new in it and what has grown old."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from bouncer.storage.dialects import database_now
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Contact, QueuedContact
from tests.bouncer.storage.existing_tables import on_servers_in_time
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue, statuses
from tests.flows.runs import ingested
from tests.sandbox_process import SandboxHandle

_CONTACTS = 2_000
_NEW = 600
_OLD = 100


@on_servers_in_time
@pytest.mark.scenario
async def test_a_list_that_comes_again_costs_only_what_is_new_or_old(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Of 2,000 contacts, 30 % of them new, the new, the unknown and the stale ones are sent, and no others."""
    engine = await set_up_account(batch_size=1_000)
    first = addresses(_CONTACTS)
    queue(engine, first, request=1)
    await ingested()
    first_bill = sandbox.ledger()["credits_charged"]

    deliverable = select(Contact.global_id).where(Contact.bouncer_status == "deliverable").order_by(Contact.global_id)
    stale = read(engine, lambda c: list(c.scalars(deliverable.limit(_OLD))))
    long_ago = read(engine, database_now) - timedelta(days=91)
    write(
        engine,
        lambda c: c.execute(update(Contact).where(Contact.global_id.in_(stale)).values(bouncer_verified_ts=long_ago)),
    )
    kept = first[_NEW:]
    email = select(Contact.email).where(Contact.email.in_(kept))
    old_again = read(engine, lambda c: set(c.scalars(email.where(Contact.global_id.in_(stale)))))
    unknown_again = read(engine, lambda c: set(c.scalars(email.where(Contact.bouncer_status == "unknown"))))
    new = addresses(_NEW, prefix="new")
    # As another user's export may have them: other contacts, in another case.
    queue(engine, [address.upper() for address in kept] + new, request=2)
    summary, _ = await ingested()

    assert (summary.outcome, summary.verified) == ("drained", _CONTACTS)
    assert statuses(engine, request=2) == {"completed": _CONTACTS}
    ledger = sandbox.ledger()
    again = len(old_again) + len(unknown_again)
    assert ledger["addresses_uploaded"] == _CONTACTS + _NEW + again
    assert ledger["addresses_charged_twice"] == len(old_again)
    unknown = select(Contact.email).where(Contact.email.in_(new), Contact.bouncer_status == "unknown")
    unknown_new = len(read(engine, lambda c: c.scalars(unknown).all()))
    assert ledger["credits_charged"] == first_bill + _NEW - unknown_new + len(old_again)
    reused = select(QueuedContact.reused).where(QueuedContact.request_id == 2)
    assert sum(read(engine, lambda c: list(c.scalars(reused)))) == summary.reused == len(kept) - again
