"""What a batch costs besides Bouncer's own work: nothing of it depends on the machine, so a rise is a mistake."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from bouncer.batches.load import load
from bouncer.files.importing import import_contacts
from bouncer.storage.engine import read, write
from bouncer.verdicts.matching import await_verdicts, prepare
from tests.bouncer import contacts
from tests.bouncer.storage.existing_tables import on_servers, on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue
from tests.flows.runs import ingested, subflows_of, tasks_of
from tests.sandbox_process import SandboxHandle
from tests.statements import counting_statements

_STATEMENTS_A_LOAD = 12
_STATEMENTS_A_CLAIM = 36
_STATEMENTS_AN_IMPORT = 26
"""Six of them, once a list, keep what comes back with its verdicts, and ask what its columns can hold."""
_STATEMENTS_A_BATCH = 98
"""Four of them keep the count of uploads, by which a backup that was restored shows; some twenty watch Bouncer's queue,
three look for erased addresses."""
_STATEMENTS_A_RUN = 147
"""Looking every few seconds, two claims, since the first batch is made alone, counting, and keeping the counts. Six of
them are looks and heartbeats that only a slow machine needs."""


@on_sqlite
@pytest.mark.scenario
async def test_a_batch_costs_three_requests_three_task_runs_and_a_fixed_number_of_statements(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """Where a batch is verified at the first look, nothing is asked twice, however many contacts it has."""
    # Longer than the sandbox takes for a batch, so that one look is enough on any machine.
    engine = await set_up_account(batch_size=500, poll_seconds_min=3, poll_seconds_max=3)
    queue(engine, addresses(2_000))
    with counting_statements(engine) as statements:
        summary, run = await ingested()
    assert (summary.outcome, summary.batches) == ("drained", 4)
    operations = sandbox.ledger()["requests_by_operation"]
    assert (operations["create"], operations["status"], operations["download"]) == (4, 4, 4)
    runs = [subflow.id for subflow in await subflows_of(run)]
    assert len(runs) == 4
    assert len(await tasks_of(*runs)) == 3 * 4
    assert len(statements) < 4 * _STATEMENTS_A_BATCH + _STATEMENTS_A_RUN


@on_servers
def test_a_load_takes_no_statement_for_a_single_contact(engine: Engine) -> None:
    """Results go in by the hundreds: with a hundred times the contacts, a load takes two statements more at most."""
    counts = {}
    for size in (10, 1_000):
        contacts.queue(engine, addresses(size, prefix=f"of.{size}"))
        (batch,) = contacts.claim(engine).batches
        work = contacts.verify(engine, batch.id)
        awaited = read(engine, await_verdicts, work.id)
        answers = contacts.verdicts(contacts.sent(engine, batch.id))
        with counting_statements(engine) as statements:
            assert write(engine, load, work, prepare(answers, awaited)).settled == size
        counts[size] = len(statements)
    assert counts[1_000] <= counts[10] + 2
    assert counts[10] <= _STATEMENTS_A_LOAD


@on_servers
def test_a_claim_takes_no_statement_for_a_single_contact(engine: Engine) -> None:
    """On servers, where a statement for many rows would be sent for each of them; SQLite would not show it."""
    counts = {}
    for size in (10, 1_000):
        contacts.queue(engine, addresses(size, prefix=f"of.{size}"))
        with counting_statements(engine) as statements:
            assert contacts.claim(engine, batches=1).contacts == size
        counts[size] = len(statements)
    assert counts[1_000] <= counts[10] + 2
    assert counts[10] <= _STATEMENTS_A_CLAIM


@on_servers
def test_an_import_takes_no_statement_for_a_single_contact(engine: Engine, tmp_path: Path) -> None:
    """Contacts come in by the thousands: with a hundred times the contacts, an import takes two statements more."""
    counts = {}
    for size in (10, 1_000):
        file = tmp_path / f"{size}.csv"
        file.write_text("\n".join(["email", *addresses(size, prefix=f"of.{size}")]))
        with counting_statements(engine) as statements:
            assert import_contacts(engine, file).queued == size
        counts[size] = len(statements)
    assert counts[1_000] <= counts[10] + 2
    assert counts[10] <= _STATEMENTS_AN_IMPORT
