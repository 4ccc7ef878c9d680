"""Attacks with a known token: a callback that names another batch of the account."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, delete

from bouncer.api.client import BouncerClient
from bouncer.batches import admission, callbacks, ownership, transitions
from bouncer.batches.state import BatchWork
from bouncer.steps.callbacks import Bell, find_again
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch, Contact
from tests.bouncer.api.caller import Caller
from tests.bouncer.contacts import batch_rows, claim, queue, set_back, small_batches, take
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.sandbox_process import SandboxHandle

pytestmark = on_sqlite

_OURS = [f"deliverable+ours{number}@sandbox.usebouncer.com" for number in range(20)]
_THEIRS = [f"deliverable+theirs{number}@sandbox.usebouncer.com" for number in range(20)]


class _Access:
    """The account and the database, without Prefect."""

    def __init__(self, engine: Engine, client: BouncerClient) -> None:
        self.name = "default"
        self.client = client
        self.account: Any = SimpleNamespace(
            callback_url="https://example.com/bouncer",
            callback_wait_seconds=0,
            poll_seconds_min=0.1,
            batch_deadline_seconds=10,
            max_concurrent_batches=15,
        )
        self._engine = engine

    async def read(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return read(self._engine, work, *args, **kwargs)

    async def write(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return write(self._engine, work, *args, **kwargs)

    async def compute(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return work(*args, **kwargs)


@asynccontextmanager
async def _lost_upload(engine: Engine, caller: Caller) -> AsyncIterator[tuple[_Access, Any, BatchWork]]:
    """A batch of ours whose upload's answer was lost, counted as perhaps paid twice, and held for a person."""
    queue(engine, _OURS)
    (claimed,) = claim(engine, batches=1).batches
    batch = take(engine, claimed.id)
    write(engine, callbacks.ensure_token, batch)
    write(engine, admission.admit_upload, batch, 15, len(_OURS))
    write(engine, ownership.record_lost_answer, batch)
    write(engine, transitions.record_lost_upload, batch, hold=True)
    run = SimpleNamespace(log=logging.getLogger(__name__), announce=lambda *_, **__: None)
    async with caller.client() as client:
        yield _Access(engine, client), run, take(engine, batch.id) if batch.owner is None else batch


async def _completed(caller: Caller, sandbox: SandboxHandle, emails: list[str]) -> str:
    bouncer_id = (await caller.upload(emails)).batch_id
    sandbox.post(f"/_sandbox/batches/{bouncer_id}/complete")
    return bouncer_id


def _call(engine: Engine, bouncer_id: str) -> None:
    (row,) = batch_rows(engine)
    assert write(engine, callbacks.note, row.callback_token, (bouncer_id,))


async def test_calls_again_and_again_make_no_polls_again_and_again(engine: Engine, sandbox: SandboxHandle) -> None:
    """Whoever found tokens in the log of a proxy made a request a second of each batch, until the account had none."""
    batch = take(engine, small_batches(engine, 1)[0])
    token = write(engine, callbacks.ensure_token, batch)
    async with Caller(sandbox).client() as client:
        access = _Access(engine, client)
        access.account.poll_seconds_min = 3600
        bell = Bell(access, batch)
        assert write(engine, callbacks.note, token, ())
        assert await bell.sleep(30)
        for hours in (1, 2, 3):
            set_back(engine, Batch.callback_ts, 3600 * hours)
            assert not await bell.sleep(0.01)


@pytest.mark.parametrize("emails", [_THEIRS, [*_OURS[:10], *_THEIRS[:10]], [*_OURS[:19], _THEIRS[0]]])
async def test_a_batch_of_other_addresses_is_not_taken_for_ours(
    engine: Engine, sandbox: SandboxHandle, emails: list[str]
) -> None:
    """It has as many addresses as ours; its verdicts would be lost, and ours be sent again. The doubt stays counted."""
    caller = Caller(sandbox)
    async with _lost_upload(engine, caller) as (access, run, batch):
        _call(engine, await _completed(caller, sandbox, emails))
        assert await find_again(access, run, batch, counted=True) is None
    (row,) = batch_rows(engine)
    assert (row.batch_id, row.ambiguous_uploads) == (None, 1)


async def test_the_true_batch_is_found(engine: Engine, sandbox: SandboxHandle) -> None:
    """Its results are those of the addresses that were sent, and nothing counts as paid twice."""
    caller = Caller(sandbox)
    async with _lost_upload(engine, caller) as (access, run, batch):
        truth = await _completed(caller, sandbox, list(reversed(_OURS)))
        _call(engine, truth)
        assert await find_again(access, run, batch, counted=True) == truth
    (row,) = batch_rows(engine)
    assert (row.batch_id, row.ambiguous_uploads) == (truth, 0)


async def test_the_true_batch_is_found_although_contacts_were_deleted(engine: Engine, sandbox: SandboxHandle) -> None:
    """As many strangers as contacts that are gone are no doubt."""
    caller = Caller(sandbox)
    async with _lost_upload(engine, caller) as (access, run, batch):
        write(engine, lambda c: c.execute(delete(Contact).where(Contact.email.in_(_OURS[:3]))))
        truth = await _completed(caller, sandbox, _OURS)
        _call(engine, truth)
        assert await find_again(access, run, batch, counted=True) == truth
