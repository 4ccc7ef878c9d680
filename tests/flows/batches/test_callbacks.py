"""Callbacks: with them an upload whose answer was lost is found again, and nothing is paid twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, delete, func, select

from bouncer.storage.engine import read
from bouncer.storage.tables import Batch, Contact
from deployments.serving.callback_receiver import receiving_callbacks
from deployments.settings import Settings
from flows.ingest import ingest
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, assert_verified_once, queue, statuses
from tests.flows.runs import events, ingested, until_it_holds
from tests.ports import free_port
from tests.sandbox_process import SandboxHandle


@contextmanager
def _receiver(engine: Engine, port: int) -> Iterator[None]:
    with receiving_callbacks(Settings(callback_port=port), engine):
        yield


def _with_callbacks(port: int, **settings: Any) -> dict[str, Any]:
    return {"callback_url": f"http://127.0.0.1:{port}/bouncer/", **settings}


def _call(engine: Engine, port: int, token: str, batch_id: str) -> None:
    with _receiver(engine, port):
        answer = httpx.post(f"http://127.0.0.1:{port}/bouncer/{token}", json={"batchId": batch_id})
        assert answer.status_code == 200


def _uploaded(sandbox: SandboxHandle, emails: list[str]) -> str:
    answer = httpx.post(
        f"{sandbox.url}/email/verify/batch",
        headers={"x-api-key": sandbox.key},
        json=[{"email": email} for email in emails],
    )
    return str(answer.raise_for_status().json()["batchId"])


def _batches(engine: Engine) -> list[Any]:
    return read(engine, lambda connection: list(connection.execute(select(Batch.__table__)).all()))


@pytest.mark.scenario
async def test_an_upload_whose_answer_was_lost_is_found_and_paid_once(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Lost answers cost nothing: Bouncer's callbacks name the batches, and their verdicts are loaded."""
    port = free_port()
    engine = await set_up_account(**_with_callbacks(port, batch_size=50))
    queue(engine, addresses(200))
    sandbox.fault("lost_answer", operation="create", times=2)
    with _receiver(engine, port):
        summary, _ = await ingested()
    assert (summary.outcome, summary.verified, summary.possible_double_payments) == ("drained", 200, 0)
    assert sandbox.ledger()["batches"] == 4
    assert_verified_once(engine, sandbox, contacts=200)

    @until_it_holds
    async def told() -> None:
        assert len(await events("bouncer-flows.upload.found")) >= 2

    await told()


@on_sqlite
@pytest.mark.parametrize("shape", ["nested", "form"])
async def test_the_form_of_a_callback_does_not_matter(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, shape: str
) -> None:
    """The payload is not documented, so the id is found wherever it stands; a repeated callback does no harm."""
    port = free_port()
    engine = await set_up_account(**_with_callbacks(port))
    sandbox.post("/_sandbox/settings", {"callback_shape": shape, "callback_repeats": 2})
    queue(engine, addresses(30))
    sandbox.fault("cut_body", operation="create")
    with _receiver(engine, port):
        summary, _ = await ingested()
    assert (summary.outcome, summary.possible_double_payments) == ("drained", 0)
    assert_verified_once(engine, sandbox, contacts=30)


@on_sqlite
@pytest.mark.parametrize("settings", [{"callback_shape": "empty"}, {"callback_loss": 1.0}])
async def test_without_a_callback_that_helps_the_setting_decides(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, settings: dict[str, Any]
) -> None:
    """A callback that names nothing, or none at all, leaves the decision to AMBIGUOUS_UPLOAD, after a bounded wait."""
    port = free_port()
    engine = await set_up_account(**_with_callbacks(port, callback_wait_seconds=2))
    sandbox.post("/_sandbox/settings", settings)
    queue(engine, addresses(30))
    sandbox.fault("lost_answer", operation="create")
    with _receiver(engine, port):
        summary, _ = await ingested()
    assert (summary.outcome, summary.verified, summary.possible_double_payments) == ("drained", 30, 30)
    assert sandbox.ledger()["batches"] == 2


@on_sqlite
async def test_a_callback_is_believed_only_as_far_as_bouncer_confirms_it(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An id that Bouncer does not know, or that has another number of addresses, changes nothing; the true one does."""
    monkeypatch.setattr("bouncer.steps.retries.PATIENCE_SECONDS", 0.5)
    port = free_port()
    engine = await set_up_account(**_with_callbacks(port, callback_wait_seconds=0, ambiguous_upload="hold"))
    sandbox.post("/_sandbox/settings", {"callback_loss": 1.0})
    queue(engine, addresses(30))
    sandbox.fault("lost_answer", operation="create")
    await ingested()
    (batch,) = _batches(engine)
    assert (batch.held_ts is None, batch.ambiguous_uploads) == (False, 1)
    other = _uploaded(sandbox, addresses(7, prefix="other"))
    for lie in ("nothing-of-the-kind", other):
        _call(engine, port, batch.callback_token, lie)
        summary, _ = await ingested()
        assert summary.verified == 0
        (still,) = _batches(engine)
        assert (still.batch_id, still.held_ts is None, still.ambiguous_uploads) == (None, False, 1)
    truth = next(seen["id"] for seen in sandbox.batches() if seen["quantity"] == 30)
    _call(engine, port, batch.callback_token, truth)
    summary, _ = await ingested()
    assert (summary.outcome, summary.verified, summary.possible_double_payments) == ("drained", 30, 0)
    assert statuses(engine) == {"completed": 30}


@on_sqlite
async def test_a_lost_upload_is_found_although_a_contact_was_deleted_after_its_claim(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """The true id is known by as many addresses as were sent, not by as many as were claimed."""
    port = free_port()
    engine = await set_up_account(**_with_callbacks(port))
    queue(engine, addresses(30))
    sandbox.fault("status", operation="create", code=401)
    state = await ingest(return_state=True)
    assert (state.is_failed(), statuses(engine)) == (True, {"assigned": 30})
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(
            delete(Contact).where(Contact.global_id == select(func.min(Contact.global_id)).scalar_subquery())
        )
    sandbox.clear_faults()
    sandbox.fault("lost_answer", operation="create")
    with _receiver(engine, port):
        summary, _ = await ingested()
    assert (summary.outcome, summary.verified, summary.possible_double_payments) == ("drained", 29, 0)
    assert [seen["quantity"] for seen in sandbox.batches()] == [29]


@on_sqlite
@pytest.mark.timeout(60)
async def test_a_callback_makes_the_next_poll_come_at_once(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """With polls hours apart, a batch is loaded as soon as Bouncer says that it is complete."""
    port = free_port()
    engine = await set_up_account(**_with_callbacks(port, poll_seconds_min=3600, poll_seconds_max=3600))
    queue(engine, addresses(30))
    with _receiver(engine, port):
        summary, _ = await ingested()
    assert (summary.outcome, summary.verified) == ("drained", 30)
    assert sandbox.ledger()["requests_by_operation"]["status"] == 1
