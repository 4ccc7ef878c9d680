"""Looking at what is left to do costs the same however many accounts share the queue."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Engine, update

from blocks.access import Access, open_access
from bouncer.accounts import state as account_state
from bouncer.storage.engine import write
from bouncer.storage.tables import Batch
from tasks.batches.subflows import Crews
from tasks.queue.work_left import WorkLeft, find_work_left
from tests.bouncer import contacts
from tests.conftest import SetUpAccount
from tests.statements import counting_statements

_MOST_STATEMENTS = 6


async def test_a_hundred_accounts_cost_no_more_statements_than_one(set_up_account: SetUpAccount) -> None:
    """Each account had four statements of its own every few seconds, each with the numbers of all batches in it."""
    engine = await set_up_account()
    contacts.queue(engine, [f"person{number}@example.com" for number in range(200)])
    counts = {}
    async with open_access("default", "me") as access:
        for number in (1, 20):
            shared = [replace(access, name=f"account-{one}") for one in range(number)]
            with counting_statements(engine) as statements:
                await _work_left(shared)
                await find_work_left(shared, None)
            counts[number] = len(statements)
    assert counts[20] == counts[1]
    assert counts[1] <= 2 * _MOST_STATEMENTS


async def test_each_account_has_its_own_work_left(set_up_account: SetUpAccount) -> None:
    """What is paused, left behind or worked on is told for the account that it belongs to."""
    engine = await set_up_account()
    first, second = contacts.small_batches(engine, 2)
    _give_to(engine, second, "second")
    contacts.take(engine, first)
    write(engine, account_state.pause, "third", by="ann", reason="by hand")
    contacts.queue(engine, ["later@example.com"])
    async with open_access("default", "me") as access:
        left = await _work_left([replace(access, name=name) for name in ("default", "second", "third")])
    assert [(batch.id, batch.account) for batch in left.left_behind] == [(second, "second")]
    assert left.others_work
    assert left.paused == {"third": "paused by ann: by hand"}
    assert left.turns == {"default": 1, "second": 1}
    assert left.unsent == []


async def _work_left(shared: Sequence[Access]) -> WorkLeft:
    async def never(_: object) -> None:
        raise AssertionError("nothing is started here")

    crews = Crews(never, {access.name: 15 for access in shared})  # type: ignore[arg-type]  # as it says
    return await find_work_left(shared, None, crews=crews)


def _give_to(engine: Engine, batch: int, account: str) -> None:
    write(engine, lambda c: c.execute(update(Batch).where(Batch.id == batch).values(account=account)))
